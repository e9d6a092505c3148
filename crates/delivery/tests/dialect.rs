//! Remote write 2.0 and zstd, and what happens if the receiver does not understand them.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions only

mod receiver;

use std::time::Duration;

use delivery::{Compression, Config, Content, Delivery, Dialect, Message};
use model::{Details, Exemplar};
use prometheus::Registry;
use receiver::{Answer, Got, NOW, Receiver, Target, config, metric, start};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const FALLBACKS: &str = "collector_remote_write_fallbacks_total";
const VERSION: &str = "collector_remote_write_message_version";

fn speaking(message: Message, compression: Compression) -> impl FnOnce(&mut Config) {
    move |config| config.dialect = Dialect { message, compression }
}

fn v2() -> Config {
    config(speaking(Message::V2, Compression::Snappy))
}

/// What each request was made of.
fn dialects(got: &[Got]) -> Vec<&'static str> {
    let dialect = |got: &Got| match (got.is_v2(), got.header("content-encoding")) {
        (true, "snappy") => "2.0",
        (true, "zstd") => "2.0 zstd",
        (false, "snappy") => "1.0",
        _ => "1.0 zstd",
    };
    got.iter().map(dialect).collect()
}

/// Sends scrapes, one after the other.
async fn send(delivery: &Delivery, receiver: &Receiver, target: &Target, scrapes: std::ops::Range<i64>) {
    for scrape in scrapes {
        let before = receiver.samples().len();
        delivery.consumer().consume(target.batch(scrape)).unwrap();
        delivery.flush();
        receiver.taken(before + target.layout.len()).await;
        sleep(SECOND).await;
    }
}

fn sent_by(registry: &Registry, what: &str) -> [f64; 3] {
    ["samples", "histograms", "exemplars"].map(|kind| metric(registry, &format!("prometheus_remote_storage_{kind}_{what}"), ""))
}

#[tokio::test(start_paused = true)]
async fn a_receiver_of_2_0_gets_it_with_its_headers() {
    let (receiver, target) = (Receiver::default(), Target::new(1, 100));
    receiver.otherwise(Answer::Taken);
    let (delivery, registry) = start(v2(), &receiver);
    send(&delivery, &receiver, &target, 0..4).await;
    assert_eq!(receiver.samples(), (0..4).flat_map(|scrape| target.samples(scrape)).collect::<Vec<_>>());
    for got in receiver.got() {
        assert_eq!(got.header("content-type"), "application/x-protobuf;proto=io.prometheus.write.v2.Request");
        assert_eq!((got.header("content-encoding"), got.header("x-prometheus-remote-write-version")), ("snappy", "2.0.0"));
        assert_eq!(got.header("user-agent"), "collector/0.1.0");
    }
    assert_eq!((metric(&registry, FALLBACKS, ""), metric(&registry, VERSION, "")), (0.0, 2.0));
    assert_eq!(sent_by(&registry, "failed_total"), [0.0; 3]);
}

#[tokio::test(start_paused = true)]
async fn unsupported_media_type_leads_to_1_0_without_a_loss() {
    let (receiver, target) = (Receiver::default(), Target::new(1, 100));
    receiver.otherwise(Answer::OnlyV1);
    let (delivery, registry) = start(v2(), &receiver);
    send(&delivery, &receiver, &target, 0..20).await;
    assert_eq!(receiver.samples(), (0..20).flat_map(|scrape| target.samples(scrape)).collect::<Vec<_>>());
    let got = receiver.got();
    assert_eq!(dialects(&got)[..3], ["2.0", "1.0", "1.0"]);
    assert!(dialects(&got)[1..].iter().all(|dialect| *dialect == "1.0"), "the choice is kept");
    assert_eq!(got[1].header("x-prometheus-remote-write-version"), "0.1.0");
    assert_eq!(got[0].at, got[1].at, "at once");
    assert_eq!(got[1].header("retry-attempt"), "", "it is another request");
    assert_eq!((metric(&registry, FALLBACKS, ""), metric(&registry, VERSION, "")), (1.0, 1.0));
    assert_eq!(sent_by(&registry, "retried_total")[0], 100.0);
    assert_eq!(sent_by(&registry, "failed_total"), [0.0; 3]);
}

#[tokio::test(start_paused = true)]
async fn success_that_does_not_say_what_was_written_leads_to_1_0() {
    let (receiver, target) = (Receiver::default(), Target::new(1, 100));
    receiver.otherwise(Answer::Status(204)); // as a receiver that reads 2.0 as an empty request of 1.0
    let (delivery, _) = start(v2(), &receiver);
    delivery.consumer().consume(target.batch(0)).unwrap();
    delivery.flush();
    sleep(SECOND).await;
    assert_eq!(dialects(&receiver.got()), ["2.0", "1.0"]);
    assert_eq!(receiver.got()[1].tally().samples, 100);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_was_updated_gets_2_0_after_an_hour() {
    let (receiver, target) = (Receiver::default(), Target::new(1, 100));
    receiver.otherwise(Answer::OnlyV1);
    let (delivery, registry) = start(v2(), &receiver);
    send(&delivery, &receiver, &target, 0..2).await;
    sleep(HOUR).await;
    send(&delivery, &receiver, &target, 2..4).await;
    assert_eq!(dialects(&receiver.got()), ["2.0", "1.0", "1.0", "2.0", "1.0", "1.0"], "not yet");
    receiver.otherwise(Answer::Taken);
    send(&delivery, &receiver, &target, 4..6).await;
    sleep(HOUR).await;
    send(&delivery, &receiver, &target, 6..10).await;
    assert_eq!(dialects(&receiver.got())[6..], ["1.0", "1.0", "2.0", "2.0", "2.0", "2.0"]);
    assert_eq!(receiver.samples(), (0..10).flat_map(|scrape| target.samples(scrape)).collect::<Vec<_>>());
    sleep(20 * SECOND).await;
    assert_eq!((metric(&registry, FALLBACKS, ""), metric(&registry, VERSION, "")), (2.0, 2.0));
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_did_not_write_is_counted_as_failed_and_not_sent_again() {
    let content = Content { exemplars: true, native_histograms: true };
    for (status, written, lost) in
        [(400, [7, 0, 1], [3.0, 0.0, 1.0]), (200, [9, 0, 0], [1.0, 0.0, 2.0]), (400, [0, 0, 0], [10.0, 0.0, 2.0])]
    {
        let (receiver, target) = (Receiver::answering([Answer::Written(status, written)]), Target::new(1, 10));
        let (delivery, registry) = start(Config { content, ..v2() }, &receiver);
        let exemplar = |value| Exemplar { labels: model::Labels::empty(), value, timestamp: Some(NOW) };
        let details = Details { exemplars: Box::new([(0, exemplar(1.0)), (4, exemplar(2.0))]), ..Details::default() };
        delivery.consumer().consume(target.batch(0).with_details(details)).unwrap();
        delivery.flush();
        sleep(SECOND).await;
        assert_eq!(receiver.got().len(), 1, "{status}");
        assert_eq!(sent_by(&registry, "failed_total"), lost, "{status}");
        assert_eq!(sent_by(&registry, "pending"), [0.0; 3]);
        let told = delivery.status().rejected.unwrap().message;
        assert!(told.contains(&format!("status {status}")) && told.contains("out of order"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_of_2_0_is_sent_again_as_it_was() {
    let (receiver, target) = (Receiver::answering([Answer::Status(503), Answer::Broken, Answer::Status(429)]), Target::new(1, 100));
    receiver.otherwise(Answer::Taken);
    let (delivery, _) = start(v2(), &receiver);
    send(&delivery, &receiver, &target, 0..1).await;
    let got = receiver.got();
    assert_eq!(dialects(&got), ["2.0"; 4]);
    assert!(got.iter().all(|one| one.body == got[0].body));
    assert_eq!(got.iter().map(|one| one.header("retry-attempt")).collect::<Vec<_>>(), ["", "1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn zstd_is_smaller_and_goes_out_under_the_header_that_its_receivers_know() {
    let target = Target::new(1, 500);
    let mut bytes = Vec::new();
    for compression in [Compression::Snappy, Compression::Zstd] {
        let receiver = Receiver::default();
        let (delivery, _) = start(config(speaking(Message::V1, compression)), &receiver);
        send(&delivery, &receiver, &target, 0..3).await;
        assert_eq!(receiver.samples(), (0..3).flat_map(|scrape| target.samples(scrape)).collect::<Vec<_>>());
        bytes.push(receiver.got().iter().map(|got| got.body.len()).sum::<usize>());
        if compression == Compression::Zstd {
            let got = receiver.got().remove(0);
            assert_eq!(got.header("content-encoding"), "zstd");
            assert_eq!(got.header("x-victoriametrics-remote-write-version"), "1");
            assert_eq!(got.header("x-prometheus-remote-write-version"), "");
        }
    }
    assert!(3 * bytes[1] < 2 * bytes[0], "{bytes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_without_zstd_gets_snappy() {
    for refusal in [Answer::Status(415), Answer::Status(400)] {
        let (receiver, target) = (Receiver::answering([refusal]), Target::new(1, 100));
        let (delivery, registry) = start(config(speaking(Message::V1, Compression::Zstd)), &receiver);
        send(&delivery, &receiver, &target, 0..3).await;
        assert_eq!(dialects(&receiver.got()), ["1.0 zstd", "1.0", "1.0", "1.0"]);
        assert_eq!(metric(&registry, FALLBACKS, ""), 1.0);
        assert_eq!(sent_by(&registry, "failed_total")[0], 0.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_request_is_a_rejection_once_zstd_was_taken() {
    let (receiver, target) = (Receiver::answering([Answer::Status(200), Answer::Status(400), Answer::Status(200)]), Target::new(1, 100));
    let (delivery, registry) = start(config(speaking(Message::V1, Compression::Zstd)), &receiver);
    for scrape in 0..3 {
        delivery.consumer().consume(target.batch(scrape)).unwrap();
        delivery.flush();
        sleep(SECOND).await;
    }
    assert_eq!(dialects(&receiver.got()), ["1.0 zstd"; 3]);
    assert_eq!(sent_by(&registry, "failed_total")[0], 100.0);
}

#[tokio::test(start_paused = true)]
async fn of_2_0_with_zstd_only_what_is_not_understood_is_given_up() {
    let speak = || config(speaking(Message::V2, Compression::Zstd));
    for (answer, expected) in [
        (Answer::Taken, &["2.0 zstd", "2.0 zstd"][..]),
        (Answer::OnlySnappy, &["2.0 zstd", "2.0", "2.0"]),
        (Answer::Status(200), &["2.0 zstd", "1.0 zstd", "1.0 zstd"]), // knows zstd, takes 2.0 for an empty request
        (Answer::OnlyV1, &["2.0 zstd", "2.0", "1.0 zstd", "1.0 zstd"]),
    ] {
        let (receiver, target) = (Receiver::default(), Target::new(1, 100));
        receiver.otherwise(answer.clone());
        let (delivery, _) = start(speak(), &receiver);
        for scrape in 0..2 {
            delivery.consumer().consume(target.batch(scrape)).unwrap();
            delivery.flush();
            sleep(SECOND).await;
        }
        assert_eq!(dialects(&receiver.got()), expected, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn series_keep_their_order_when_many_shards_fall_back() {
    let receiver = Receiver::default();
    receiver.otherwise(Answer::OnlyV1);
    let many = |config: &mut Config| {
        (config.queue.min_shards, config.queue.max_samples_per_send) = (8, 50);
        config.dialect.message = Message::V2;
    };
    let (delivery, registry) = start(config(many), &receiver);
    let targets: Vec<Target> = (0..20).map(|source| Target::new(source * 7919, 30)).collect();
    for scrape in 0..20 {
        for target in &targets {
            delivery.consumer().consume(target.batch(scrape)).unwrap();
        }
        sleep(SECOND).await;
    }
    delivery.flush();
    receiver.taken(20 * 20 * 30).await;
    let expected: Vec<i64> = (0..20).map(|scrape| NOW + scrape).collect();
    let by_series = receiver.by_series();
    assert_eq!(by_series.len(), 600);
    by_series.values().for_each(|timestamps| assert_eq!(timestamps, &expected));
    assert!(metric(&registry, FALLBACKS, "") >= 1.0);
}
