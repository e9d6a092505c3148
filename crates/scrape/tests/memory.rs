//! Bodies that are larger than they may be end at the bound, and cost no more memory than twice of it. Alone in its process, as it
//! measures that.

#![allow(clippy::unwrap_used)] // helpers outside #[test] functions

mod support;

use scrape::Ending;
use scrape::series::Rules;

use support::{Bench, LIMIT, OPEN_METRICS, PROTOBUF, TEXT, endless, fixed, gzip};

/// The highest resident memory of the process since the last reset, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
}

/// What the rest of the process may take meanwhile: other targets, sockets, the allocator's own.
const OTHERS: u64 = 1 << 20;

/// All bodies that are larger than they may be, one after the other, in a process in which little else happens: the bound of memory is
/// that of the largest of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_beyond_the_bound_end_at_it_and_cost_no_more_memory() {
    let line = b"a_metric_with_a_rather_long_name{and=\"a label\"} 1\n".repeat(1000);
    let bomb = gzip(&b"# a comment that is repeated again and again\n".repeat(80_000));
    let series: Vec<u8> = (0..120_000).flat_map(|n| format!("m{n} 1\n").into_bytes()).collect();
    let gzipped = "Content-Type: text/plain\r\nContent-Encoding: gzip";
    // A message that says it has 200 MiB.
    let message = vec![0x80, 0x80, 0x80, 0x64];
    let large = format!("body size limit exceeded: {LIMIT} bytes or more (--scrape.max-body-size)");
    let bad = [
        ("a bomb", fixed(gzipped, bomb).await, large.clone()),
        (
            "a bomb of series",
            fixed(gzipped, gzip(&series)).await,
            format!("new series, histograms and exemplars take more than {LIMIT} bytes of memory"),
        ),
        ("endless text", endless(TEXT, Vec::new(), line.clone()).await, large.clone()),
        ("endless OpenMetrics", endless(OPEN_METRICS, Vec::new(), line).await, large.clone()),
        ("an endless message", endless(PROTOBUF, message, vec![0x0a; 10_000]).await, large.clone()),
        ("endless comments", endless(TEXT, b"# ".to_vec(), b"\n# ".repeat(10_000)).await, large),
        ("an endless line", endless(TEXT, b"m{a=\"".to_vec(), vec![b'x'; 10_000]).await, "line is longer than".to_owned()),
    ];
    // What has to be there in any case is there before it is measured.
    let warm = Bench::start(&fixed(TEXT, "a 1\n").await, Rules::default()).await;
    warm.others_go_on(2).await;
    warm.engine.stop(Ending::Continued).await;
    for (name, address, message) in &bad {
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = peak();
        let bench = Bench::start(address, Rules::default()).await;
        let error = bench.error().await;
        assert!(error.contains(message), "{name}: {error}");
        bench.others_go_on(2).await;
        bench.engine.stop(Ending::Continued).await;
        let grown = peak().saturating_sub(before);
        assert!(grown <= 2 * LIMIT + OTHERS, "{name}: {} KiB with a bound of {} KiB", grown >> 10, LIMIT >> 10);
    }
}
