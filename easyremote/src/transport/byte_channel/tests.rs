//! Handing over, on one thread and between two.

use super::*;

async fn feed<E>(feeder: &mut ByteSender<E>, text: &str) -> Result<(), Closed> {
    feeder.feed(&mut text.as_bytes().to_vec()).await
}

fn batch<E>(text: &'static str) -> Received<E> {
    Received::Batch(vec![Bytes::from_static(text.as_bytes())])
}

#[tokio::test]
async fn what_was_fed_is_taken_as_one_batch() {
    let (mut feeder, mut taker) = byte_channel::<()>(100_000);
    feed(&mut feeder, "a").await.unwrap();
    feed(&mut feeder, "b").await.unwrap();
    assert_eq!(taker.take().await, batch("ab"));
    assert!(taker.take().now_or_never().is_none());
}

#[tokio::test]
async fn pieces_of_all_sizes_stay_in_order() {
    let (mut feeder, mut taker) = byte_channel::<()>(100_000);
    let mut expected = Vec::new();
    for size in [1, SMALL, 2, SMALL + 1, SMALL - 1, 3] {
        let piece = vec![size as u8; size];
        expected.extend_from_slice(&piece);
        feeder.feed(&mut piece.clone()).await.unwrap();
        feeder.feed_chunks(&[piece.clone().into()]).await.unwrap();
        expected.extend_from_slice(&piece);
    }
    let Received::Batch(batch) = taker.take().await else { panic!("nothing was taken") };
    assert_eq!(batch.concat(), expected);
}

#[tokio::test]
async fn feeding_waits_at_the_limit() {
    let (mut feeder, mut taker) = byte_channel::<()>(2);
    feed(&mut feeder, "abc").await.unwrap();
    assert!(feed(&mut feeder, "d").now_or_never().is_none());
    taker.take().await;
    feed(&mut feeder, "d").await.unwrap();
    assert_eq!(taker.take().await, batch("d"));
}

#[tokio::test]
async fn the_end_comes_after_all_that_was_fed() {
    let (mut feeder, mut taker) = byte_channel(100);
    feed(&mut feeder, "a").await.unwrap();
    feeder.end("well");
    assert_eq!(taker.take().await, batch("a"));
    assert_eq!(taker.take().await, Received::End(Some("well")));
    assert_eq!(taker.take().await, Received::End(None));
}

#[tokio::test]
async fn a_feeder_that_is_dropped_ends_without_a_word() {
    let (feeder, mut taker) = byte_channel::<()>(100);
    let taking = tokio::spawn(async move { taker.take().await });
    drop(feeder);
    assert_eq!(taking.await.unwrap(), Received::End(None));
}

#[tokio::test]
async fn a_taker_that_is_dropped_wakes_the_feeder() {
    let (mut feeder, taker) = byte_channel::<()>(1);
    feed(&mut feeder, "a").await.unwrap();
    let feeding = tokio::spawn(async move {
        let result = feed(&mut feeder, "b").await;
        feeder.closed().await;
        result
    });
    drop(taker);
    assert_eq!(feeding.await.unwrap(), Err(Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_reordered_between_threads() {
    const NUMBERS: u32 = 100_000;
    let (mut feeder, mut taker) = byte_channel(50);
    let feeding = tokio::spawn(async move {
        for number in 0..NUMBERS {
            feeder.feed(&mut number.to_be_bytes().to_vec()).await.unwrap();
        }
        feeder.end(());
    });
    let mut all = Vec::new();
    while let Received::Batch(batch) = taker.take().await {
        all.extend(batch.concat());
    }
    feeding.await.unwrap();
    assert!(all.chunks(4).eq((0..NUMBERS).map(u32::to_be_bytes)));
}

#[tokio::test(start_paused = true)]
async fn patience_is_for_those_who_ask() {
    let patience = Duration::from_secs(60);
    let (mut feeder, mut taker) = byte_channel::<()>(2);
    feed(&mut feeder, "abc").await.unwrap();
    let chunks = [Bytes::from_static(b"d")];
    let begun = tokio::time::Instant::now();
    assert_eq!(feeder.feed_patiently(&chunks, patience).await, None);
    assert_eq!(begun.elapsed(), patience);
    let asking = async {
        for _ in 0..10 {
            tokio::time::sleep(patience / 2).await;
            taker.ask();
        }
        taker.take().await
    };
    let (fed, taken) = tokio::join!(feeder.feed_patiently(&chunks, patience), asking);
    assert_eq!(fed, Some(Ok(())));
    assert_eq!(taken, batch("abc"));
    drop(taker);
    assert_eq!(feeder.feed_patiently(&chunks, patience).await, Some(Err(Closed)));
}
