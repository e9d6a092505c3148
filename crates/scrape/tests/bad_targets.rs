//! Targets that do harm, over real sockets and with the real client: their scrapes fail with a message that names the cause, or what is
//! wrong is counted; and the other targets are scraped all the same. What bounds their memory is in `memory`.

mod support;

use std::time::Duration;

use model::stale::NORMAL_NAN_BITS;
use prost::Message;
use proto::client::{Gauge, Metric, MetricFamily, MetricType};
use scrape::series::Rules;
use scrape::{Ending, Health};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use support::{Bench, PROTOBUF, TEXT, fixed, target};

#[tokio::test]
async fn targets_that_never_come_to_an_end_hold_up_nobody() {
    let hang = target(|mut stream| async move {
        stream.read_u8().await.ok()?;
        std::future::pending().await
    });
    let slow = |first: &'static str| {
        target(move |mut stream| async move {
            stream.read_u8().await.ok()?;
            stream.write_all(first.as_bytes()).await.ok()?;
            loop {
                stream.write_all(b"#").await.ok()?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    let head = slow("HTTP/1.1 200 OK\r\nX-Slow: ").await;
    let body = slow("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n").await;
    for address in [hang.await, head, body] {
        let bench = Bench::start(&address, Rules::default()).await;
        bench.others_go_on(5).await;
        assert_eq!(bench.statuses().0.health, Health::Unknown, "its one scrape has gone on all the while");
        bench.engine.stop(Ending::Continued).await;
    }
}

#[tokio::test]
async fn labels_of_a_megabyte_are_taken_or_refused_as_the_limit_says() {
    let value = "x".repeat(1_000_000);
    let body = format!("m{{a=\"{value}\"}} 1\nm{{a=\"y\"}} 2\n");
    let address = fixed(TEXT, body).await;
    let bench = Bench::start(&address, Rules::default()).await;
    bench.until("a good scrape", |bad, _| bad.health == Health::Up).await;
    assert_eq!(bench.statuses().0.samples, 2);
    let bench = Bench::start(&address, Rules { label_value_length_limit: 100, ..Rules::default() }).await;
    let error = bench.error().await;
    let text = "label_value_length_limit exceeded (metric: m, label name: a, value: \"xxxxx";
    assert!(error.starts_with(text) && error.len() < 300, "{error}");
    assert_eq!(bench.counted("prometheus_target_scrape_pool_exceeded_label_limits_total"), 1.0);
    bench.others_go_on(1).await;
}

#[tokio::test]
async fn duplicates_and_times_out_of_range_are_counted_and_the_rest_is_taken() {
    let body = "a 1\na 2\nb 1 9223372036854775807\nc 3\nd 4 1\nd 5 1\n";
    let bench = Bench::start(&fixed(TEXT, body).await, Rules::default()).await;
    bench.until("a good scrape", |bad, _| bad.health == Health::Up).await;
    let batch = bench.sink.0.lock()[0].clone();
    let taken: Vec<_> = batch.iter().map(|(series, _, value)| (series.metric_name().to_owned(), value)).collect();
    assert_eq!(taken, [("a".to_owned(), 1.0), ("c".to_owned(), 3.0), ("d".to_owned(), 4.0)]);
    assert_eq!(bench.counted("prometheus_target_scrapes_sample_duplicate_timestamp_total"), 2.0);
    assert_eq!(bench.counted("prometheus_target_scrapes_sample_out_of_bounds_total"), 1.0);
    let bench = Bench::start(&fixed(TEXT, "a 1 9223372036854775808\n").await, Rules::default()).await;
    assert!(bench.error().await.contains("line 1: timestamp out of range"));
}

#[tokio::test]
async fn no_number_that_a_target_gives_is_a_marker() {
    let gauge = |name: &str, bits: u64| MetricFamily {
        name: name.to_owned(),
        r#type: MetricType::Gauge as i32,
        metric: vec![Metric { gauge: Some(Gauge { value: f64::from_bits(bits) }), ..Metric::default() }],
        ..MetricFamily::default()
    };
    // The staleness marker, and other numbers that are none.
    let odd = [0x7ff0_0000_0000_0002, 0x7ff8_dead_dead_dead, 0xffff_ffff_ffff_ffff, 0x7ff8_0000_0000_0000];
    let body: Vec<u8> =
        odd.iter().enumerate().flat_map(|(n, bits)| gauge(&format!("g{n}"), *bits).encode_length_delimited_to_vec()).collect();
    let bench = Bench::start(&fixed(PROTOBUF, body).await, Rules::default()).await;
    bench.until("a good scrape", |bad, _| bad.health == Health::Up).await;
    let batch = bench.sink.0.lock()[0].clone();
    assert_eq!(batch.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), [NORMAL_NAN_BITS; 4]);
}
