//! Tests of byte channels, on one thread and between two.

use super::*;

async fn feed<E>(sender: &mut ByteSender<E>, text: &str) -> Result<(), Closed> {
    sender.send(&mut text.as_bytes().to_vec()).await
}

fn batch<E>(text: &'static str) -> Received<E> {
    Received::Batch(vec![Bytes::from_static(text.as_bytes())])
}

#[tokio::test]
async fn what_was_fed_is_taken_as_one_batch() {
    let (mut sender, mut receiver) = byte_channel::<()>(100_000);
    feed(&mut sender, "a").await.unwrap();
    feed(&mut sender, "b").await.unwrap();
    assert_eq!(receiver.receive().await, batch("ab"));
    assert!(receiver.receive().now_or_never().is_none());
}

#[tokio::test]
async fn pieces_of_all_sizes_stay_in_order() {
    let (mut sender, mut receiver) = byte_channel::<()>(100_000);
    let mut expected = Vec::new();
    for size in [1, SMALL, 2, SMALL + 1, SMALL - 1, 3] {
        let piece = vec![size as u8; size];
        expected.extend_from_slice(&piece);
        sender.send(&mut piece.clone()).await.unwrap();
        sender.send_chunks(&[piece.clone().into()]).await.unwrap();
        expected.extend_from_slice(&piece);
    }
    let Received::Batch(batch) = receiver.receive().await else { panic!("nothing was taken") };
    assert_eq!(batch.concat(), expected);
}

#[tokio::test]
async fn feeding_waits_at_the_limit() {
    let (mut sender, mut receiver) = byte_channel::<()>(2);
    feed(&mut sender, "abc").await.unwrap();
    assert!(feed(&mut sender, "d").now_or_never().is_none());
    receiver.receive().await;
    feed(&mut sender, "d").await.unwrap();
    assert_eq!(receiver.receive().await, batch("d"));
}

#[tokio::test]
async fn the_end_comes_after_all_that_was_fed() {
    let (mut sender, mut receiver) = byte_channel(100);
    feed(&mut sender, "a").await.unwrap();
    sender.end("well");
    assert_eq!(receiver.receive().await, batch("a"));
    assert_eq!(receiver.receive().await, Received::End(Some("well")));
    assert_eq!(receiver.receive().await, Received::End(None));
}

#[tokio::test]
async fn a_feeder_that_is_dropped_ends_without_a_word() {
    let (sender, mut receiver) = byte_channel::<()>(100);
    let taking = tokio::spawn(async move { receiver.receive().await });
    drop(sender);
    assert_eq!(taking.await.unwrap(), Received::End(None));
}

#[tokio::test]
async fn a_taker_that_is_dropped_wakes_the_feeder() {
    let (mut sender, receiver) = byte_channel::<()>(1);
    feed(&mut sender, "a").await.unwrap();
    let feeding = tokio::spawn(async move {
        let result = feed(&mut sender, "b").await;
        sender.closed().await;
        result
    });
    drop(receiver);
    assert_eq!(feeding.await.unwrap(), Err(Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_reordered_between_threads() {
    const NUMBERS: u32 = 100_000;
    let (mut sender, mut receiver) = byte_channel(50);
    let feeding = tokio::spawn(async move {
        for number in 0..NUMBERS {
            sender.send(&mut number.to_be_bytes().to_vec()).await.unwrap();
        }
        sender.end(());
    });
    let mut all = Vec::new();
    while let Received::Batch(batch) = receiver.receive().await {
        all.extend(batch.concat());
    }
    feeding.await.unwrap();
    assert!(all.chunks(4).eq((0..NUMBERS).map(u32::to_be_bytes)));
}

#[tokio::test(start_paused = true)]
async fn patience_is_for_those_who_ask() {
    let patience = Duration::from_secs(60);
    let (mut sender, mut receiver) = byte_channel::<()>(2);
    feed(&mut sender, "abc").await.unwrap();
    let chunks = [Bytes::from_static(b"d")];
    let begun = tokio::time::Instant::now();
    assert_eq!(sender.send_patiently(&chunks, patience).await, None);
    assert_eq!(begun.elapsed(), patience);
    let asking = async {
        for _ in 0..10 {
            tokio::time::sleep(patience / 2).await;
            receiver.ask();
        }
        receiver.receive().await
    };
    let (fed, taken) = tokio::join!(sender.send_patiently(&chunks, patience), asking);
    assert_eq!(fed, Some(Ok(())));
    assert_eq!(taken, batch("abc"));
    drop(receiver);
    assert_eq!(sender.send_patiently(&chunks, patience).await, Some(Err(Closed)));
}

#[tokio::test]
async fn channels_share_a_room_and_wait_for_each_other() {
    const PIECE: usize = 60 << 10;
    let room = SharedRoom::new(100 << 10);
    let channel = || byte_channel_in::<()>(&room, 1 << 10);
    let (mut one, mut first) = channel();
    let (mut two, second) = channel();
    // Small channels use none of the budget.
    one.send(&mut vec![0; UNSHARED]).await.unwrap();
    assert!(one.has_room_for(PIECE).now_or_never().is_some() && !room.is_full());
    drop(first.receive().await);
    assert!(first.receive().now_or_never().is_none());
    one.send(&mut vec![0; PIECE]).await.unwrap();
    two.send(&mut vec![0; PIECE]).await.unwrap();
    assert!(two.has_room_for(PIECE).now_or_never().is_some(), "44 KiB each of 100");
    // Bytes that wait to be sent count too, and those taken last until more are requested.
    let mut waiting = vec![0; PIECE];
    let mut feeding = Box::pin(two.send(&mut waiting));
    assert!(feeding.as_mut().now_or_never().is_none() && room.is_full());
    drop(first.receive().await);
    assert!(room.is_full());
    assert!(first.receive().now_or_never().is_none());
    assert!(room.is_full(), "two pieces of one channel are more than there is");
    drop(feeding);
    // An empty channel waits before a large item, until others release budget.
    let (mut three, third) = channel();
    assert!(three.has_room_for(UNSHARED).now_or_never().is_some());
    let mut blocked = Box::pin(three.has_room_for(PIECE));
    assert!(blocked.as_mut().now_or_never().is_none());
    drop((two, second));
    assert_eq!(blocked.await, Ok(()));
    assert!(!room.is_full());
    // Reserved bytes count until they arrive.
    three.reserve(2 * PIECE);
    assert!(room.is_full());
    three.send(&mut vec![0; PIECE]).await.unwrap();
    assert!(room.is_full());
    three.reserve(0);
    assert!(!room.is_full());
    drop(third);
    three.reserve(3 * PIECE);
    assert_eq!(three.has_room_for(PIECE).await, Err(Closed));
    drop((one, first, three));
    assert_eq!((room.is_full(), Arc::strong_count(&room)), (false, 1));
}
