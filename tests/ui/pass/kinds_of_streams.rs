//! Every way to write a stream.
#![deny(warnings)]

use std::iter::FusedIterator;
use std::pin::Pin;

use easyremote::{Client, Error, StreamCall, functions, remote};
use futures::stream::{self, BoxStream, FusedStream};
use futures::{Stream, StreamExt};

#[remote(stream)]
fn iterator(n: u8) -> impl Iterator<Item = u8> {
    0..n
}

/// Made and used on one thread, so it need not be `Send`.
#[remote(stream)]
fn iterator_that_is_not_send(n: u8) -> impl Iterator<Item = u8> {
    let n = std::rc::Rc::new(n);
    (0..*n).map(move |i| *n - i)
}

#[remote(stream)]
fn iterator_with_bounds(
    n: u8,
) -> impl DoubleEndedIterator<Item = u8> + FusedIterator + Send + 'static + use<> {
    0..n
}

#[remote(stream)]
async fn iterator_later(n: u8) -> Result<impl ExactSizeIterator<Item = u8>, ()> {
    Ok(0..n)
}

#[remote(stream)]
fn boxed_iterator(n: u8) -> Box<dyn Iterator<Item = u8> + Send> {
    Box::new(0..n)
}

#[remote(stream)]
fn boxed_iterator_that_is_not_send(n: u8) -> Box<dyn Iterator<Item = u8>> {
    Box::new(0..n)
}

#[remote(stream)]
#[allow(unused_parens)]
fn in_parentheses(n: u8) -> (impl Iterator<Item = u8>) {
    0..n
}

#[remote(stream)]
fn bare_stream(n: u8) -> impl Stream<Item = u8> {
    stream::iter(0..n)
}

#[remote(stream)]
async fn stream_with_bounds(
    n: u8,
) -> impl ::futures::Stream<Item = u8> + FusedStream + Send + 'static {
    stream::iter(0..n).fuse()
}

#[remote(stream)]
fn pinned_stream(n: u8) -> Pin<Box<dyn Stream<Item = u8> + Send>> {
    Box::pin(stream::iter(0..n))
}

#[remote(stream)]
fn boxed_stream(n: u8) -> BoxStream<'static, u8> {
    stream::iter(0..n).boxed()
}

#[remote(stream)]
async fn boxed_stream_later(n: u8) -> Result<futures::stream::BoxStream<'static, u8>, ()> {
    Ok(stream::iter(0..n).boxed())
}

#[remote(stream)]
fn no_items() -> impl Stream<Item = ()> {
    stream::pending()
}

fn items<T>(_: impl Stream<Item = Result<T, Error>> + Send + Unpin + 'static) {}

fn callers(client: &Client) {
    items::<u8>(iterator::call(client, 3));
    items::<u8>(iterator_that_is_not_send::call(client, 3));
    items::<u8>(iterator_with_bounds::call(client, 3));
    items::<u8>(boxed_iterator::call(client, 3));
    items::<u8>(in_parentheses::call(client, 3));
    items::<u8>(bare_stream::call(client, 3));
    items::<u8>(stream_with_bounds::call(client, 3));
    items::<u8>(pinned_stream::call(client, 3));
    items::<u8>(boxed_stream::call(client, 3));
    items::<()>(no_items::call(client));
    let _: StreamCall<boxed_stream_later> = boxed_stream_later::call(client, 3);
}

fn main() {
    let _ = callers;
    let _ = functions![
        iterator,
        iterator_that_is_not_send,
        iterator_with_bounds,
        iterator_later,
        boxed_iterator,
        boxed_iterator_that_is_not_send,
        in_parentheses,
        bare_stream,
        stream_with_bounds,
        pinned_stream,
        boxed_stream,
        boxed_stream_later,
        no_items,
    ];
    assert_eq!(iterator_that_is_not_send(3).collect::<Vec<_>>(), [3, 2, 1]);
}
