//! What a sample costs on its way into a request: filled into a template, against encoded and compressed the ordinary way.
//! The layout has the shape of node_exporter's output, about 1 000 series of one host. Prints the templates' memory per series.

use std::sync::Arc;

use delivery::encode::{Encoder, Request, Scratch};
use divan::Bencher;
use divan::counter::ItemsCount;
use model::{Batch, Labels, Layout, LayoutBuilder};

/// Family, labels beside instance and job: `name=a..b` counts, `name=x|y` lists.
const FAMILIES: &[(&str, &str)] = &[
    ("node_cpu_seconds_total", "cpu=0..48 mode=idle|iowait|irq|nice|softirq|steal|system|user"),
    ("node_cpu_guest_seconds_total", "cpu=0..48 mode=nice|user"),
    ("node_cpu_frequency_max_hertz", "cpu=0..48"),
    ("node_schedstat_running_seconds_total", "cpu=0..48"),
    ("node_schedstat_timeslices_total", "cpu=0..48"),
    ("node_schedstat_waiting_seconds_total", "cpu=0..48"),
    ("node_softnet_dropped_total", "cpu=0..48"),
    ("node_softnet_processed_total", "cpu=0..48"),
    ("node_disk_io_time_seconds_total", "device=dm-0|dm-1|nvme0n1|nvme1n1|sda|sdb"),
    ("node_disk_read_bytes_total", "device=dm-0|dm-1|nvme0n1|nvme1n1|sda|sdb"),
    ("node_disk_reads_completed_total", "device=dm-0|dm-1|nvme0n1|nvme1n1|sda|sdb"),
    ("node_disk_writes_completed_total", "device=dm-0|dm-1|nvme0n1|nvme1n1|sda|sdb"),
    ("node_disk_written_bytes_total", "device=dm-0|dm-1|nvme0n1|nvme1n1|sda|sdb"),
    ("node_filesystem_avail_bytes", "device=/dev/mapper/root|/dev/nvme0n1p1|tmpfs fstype=ext4 mountpoint=/|/boot|/run|/run/lock"),
    ("node_filesystem_files", "device=/dev/mapper/root|/dev/nvme0n1p1|tmpfs fstype=ext4 mountpoint=/|/boot|/run|/run/lock"),
    ("node_filesystem_readonly", "device=/dev/mapper/root|/dev/nvme0n1p1|tmpfs fstype=ext4 mountpoint=/|/boot|/run|/run/lock"),
    ("node_network_receive_bytes_total", "device=docker0|eth0|eth1|lo|veth0123456|veth789abcd"),
    ("node_network_receive_drop_total", "device=docker0|eth0|eth1|lo|veth0123456|veth789abcd"),
    ("node_network_receive_errs_total", "device=docker0|eth0|eth1|lo|veth0123456|veth789abcd"),
    ("node_network_receive_packets_total", "device=docker0|eth0|eth1|lo|veth0123456|veth789abcd"),
    ("node_network_transmit_bytes_total", "device=docker0|eth0|eth1|lo|veth0123456|veth789abcd"),
    ("node_network_transmit_packets_total", "device=docker0|eth0|eth1|lo|veth0123456|veth789abcd"),
    ("node_memory_MemAvailable_bytes", ""),
    ("node_memory_MemFree_bytes", ""),
    ("node_memory_Active_anon_bytes", ""),
    ("node_netstat_Tcp_InSegs", ""),
    ("node_netstat_Tcp_RetransSegs", ""),
    ("node_vmstat_pgfault", ""),
    (
        "node_scrape_collector_duration_seconds",
        "collector=arp|bcache|bonding|conntrack|cpu|cpufreq|diskstats|entropy|filefd|loadavg|meminfo|netdev",
    ),
    (
        "node_systemd_unit_state",
        "name=cron.service|dbus.service|docker.service|ssh.service|systemd-journald.service|systemd-logind.service|systemd-udevd.service|getty@tty1.service|polkit.service|rsyslog.service|networking.service|containerd.service|unattended-upgrades.service|node_exporter.service state=activating|active|deactivating|failed|inactive",
    ),
];

const NOW: i64 = 1_763_637_480_123;

fn main() {
    let (encoder, layout) = (encoder(), layout("10.0.0.1:9100"));
    let mut bytes = 0;
    for _ in 0..3 {
        bytes = request(&encoder, &batch(&layout), &mut Scratch::default()).len();
    }
    let series = layout.len() as f64;
    let (template, _) = encoder.template_usage();
    println!("{series} series: templates {:.1} B/series, request {:.1} B/sample", template as f64 / series, bytes as f64 / series);
    divan::main();
}

/// Series sent by template.
#[divan::bench]
fn template(bencher: Bencher<'_, '_>) {
    let (encoder, layout, mut scratch) = (encoder(), layout("10.0.0.1:9100"), Scratch::default());
    let batch = batch(&layout);
    for _ in 0..2 {
        request(&encoder, &batch, &mut scratch);
    }
    bencher.counter(ItemsCount::new(batch.len())).bench_local(|| request(&encoder, &batch, &mut scratch));
}

/// Series sent by template with a timestamp of their own each.
#[divan::bench]
fn template_with_own_timestamps(bencher: Bencher<'_, '_>) {
    let (encoder, layout, mut scratch) = (encoder(), layout("10.0.0.1:9100"), Scratch::default());
    let mut batch = batch(&layout);
    batch.timestamps = Some((0..batch.len()).map(|i| NOW - i as i64).collect());
    for _ in 0..2 {
        request(&encoder, &batch, &mut scratch);
    }
    bencher.counter(ItemsCount::new(batch.len())).bench_local(|| request(&encoder, &batch, &mut scratch));
}

/// Series encoded and compressed for this request.
#[divan::bench]
fn ordinary(bencher: Bencher<'_, '_>) {
    let (encoder, layout, mut scratch) = (encoder(), layout("10.0.0.1:9100"), Scratch::default());
    let mut batch = batch(&layout);
    batch.timestamp = 1 << 43; // no template holds it
    bencher.counter(ItemsCount::new(batch.len())).bench_local(|| request(&encoder, &batch, &mut scratch));
}

/// The second sight of a target, which makes its templates.
#[divan::bench]
fn making_templates(bencher: Bencher<'_, '_>) {
    let (layout, mut scratch) = (layout("10.0.0.1:9100"), Scratch::default());
    let batch = batch(&layout);
    let seen_once = || {
        let encoder = encoder();
        request(&encoder, &batch, &mut Scratch::default());
        encoder
    };
    bencher.counter(ItemsCount::new(batch.len())).with_inputs(seen_once).bench_local_refs(|encoder| request(encoder, &batch, &mut scratch));
}

fn encoder() -> Encoder {
    Encoder::new(Labels::empty(), None, 2000)
}

fn request(encoder: &Encoder, batch: &Batch, scratch: &mut Scratch) -> bytes::Bytes {
    let mut request = Request::new(32 << 10);
    let row = encoder.add(&mut request, batch, 0, i64::MIN, scratch);
    assert_eq!(row, batch.len());
    request.finish()
}

fn batch(layout: &Arc<Layout>) -> Batch {
    let values: Vec<f64> = (0..layout.len()).map(|i| if i % 3 == 0 { 0.0 } else { i as f64 * 1234.567 }).collect();
    Batch::new(1, layout.clone(), NOW, values)
}

fn layout(instance: &str) -> Arc<Layout> {
    let mut builder = LayoutBuilder::default();
    for &(family, labels) in FAMILIES {
        let fixed = vec![("__name__", family.to_owned()), ("instance", instance.to_owned()), ("job", "node".to_owned())];
        let mut all = vec![fixed];
        for (name, choices) in labels.split_whitespace().filter_map(|label| label.split_once('=')) {
            let values: Vec<String> = match choices.split_once("..") {
                Some((from, to)) => (from.parse().unwrap_or(0)..to.parse().unwrap_or(0)).map(|n: u32| n.to_string()).collect(),
                None => choices.split('|').map(str::to_owned).collect(),
            };
            all = all.iter().flat_map(|series| values.iter().map(|value| [series.as_slice(), &[(name, value.clone())]].concat())).collect();
        }
        for mut series in all {
            series.sort();
            assert!(builder.push(series.iter().map(|(name, value)| (*name, value.as_str()))).is_ok());
        }
    }
    Arc::new(builder.finish())
}
