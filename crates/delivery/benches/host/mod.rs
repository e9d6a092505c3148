//! What benches send: the series of one host's node_exporter, about 1 000, and values that move from tick to tick as they do on a host: half
//! of them never change, counters grow by whole numbers, seconds have two digits, sizes are whole pages. Labels, habits and their shares
//! are those of `loadtest`'s synthetic targets, so that bytes per sample can be compared with whole runs.

use std::sync::Arc;

use model::{Batch, Layout, LayoutBuilder, Metadata, MetricType};

/// How a value moves from tick to tick.
#[derive(Clone, Copy)]
enum Habit {
    /// Always the same.
    Constant(f64),
    /// 1 for every fifth series, else 0.
    Active,
    /// Whole numbers, growing by about this much a tick.
    Counter(u32),
    /// Seconds with two digits, growing.
    Seconds,
    /// Bytes in whole pages, going up and down.
    Bytes,
    /// Whole numbers around this one.
    Level(u32),
    /// Whole numbers below ten.
    Small,
    /// A fraction of a second with nine digits.
    Duration,
}
use Habit::{Active, Bytes, Constant, Counter, Duration, Level, Seconds, Small};

const CPU: &str = "cpu=0..22";
const MODE: &str = "cpu=0..22 mode=idle|iowait|irq|nice|softirq|steal|system|user";
const DISK: &str = "device=nvme0..22n1";
const NETWORK: &str = "device=veth*22";
const MOUNT: &str = "device=/dev/mapper/vg0-*22 fstype=ext4 mountpoint=@/var/lib/volumes/";
const UNIT: &str = "name=worker-*22.service state=activating|active|deactivating|failed|inactive type=simple";
const COLLECTOR: &str = "collector=arp|bcache|bonding|conntrack|cpu|cpufreq|diskstats|entropy|filefd|loadavg|meminfo|netdev";

/// Family, labels, habit. `name=a..b` counts (text around it stays), `name=p*n` appends hashes to a prefix, `@p` repeats the hash of the
/// first such label behind `p`, `|` lists.
const FAMILIES: &[(&str, &str, Habit)] = &[
    ("node_boot_time_seconds", "", Constant(1_763_600_000.0)),
    ("node_context_switches_total", "", Counter(4200)),
    ("node_cpu_guest_seconds_total", CPU, Constant(0.0)),
    ("node_cpu_seconds_total", MODE, Seconds),
    ("node_disk_discard_time_seconds_total", DISK, Constant(0.0)),
    ("node_disk_discarded_sectors_total", DISK, Constant(0.0)),
    ("node_disk_io_now", DISK, Small),
    ("node_disk_io_time_seconds_total", DISK, Seconds),
    ("node_disk_read_bytes_total", DISK, Counter(65_536)),
    ("node_disk_reads_completed_total", DISK, Counter(40)),
    ("node_disk_reads_merged_total", DISK, Constant(312.0)),
    ("node_disk_written_bytes_total", DISK, Counter(262_144)),
    ("node_filesystem_avail_bytes", MOUNT, Bytes),
    ("node_filesystem_device_error", MOUNT, Constant(0.0)),
    ("node_filesystem_files", MOUNT, Constant(6_553_600.0)),
    ("node_filesystem_files_free", MOUNT, Level(6_100_000)),
    ("node_filesystem_readonly", MOUNT, Constant(0.0)),
    ("node_filesystem_size_bytes", MOUNT, Constant(105_089_261_568.0)),
    ("node_forks_total", "", Counter(12)),
    ("node_intr_total", "", Counter(8100)),
    ("node_load1", "", Level(400)),
    ("node_memory_Active_bytes", "", Bytes),
    ("node_memory_Buffers_bytes", "", Bytes),
    ("node_memory_Cached_bytes", "", Bytes),
    ("node_memory_MemAvailable_bytes", "", Bytes),
    ("node_memory_MemFree_bytes", "", Bytes),
    ("node_memory_MemTotal_bytes", "", Constant(16_598_122_496.0)),
    ("node_memory_SwapFree_bytes", "", Constant(2_147_479_552.0)),
    ("node_memory_SwapTotal_bytes", "", Constant(2_147_479_552.0)),
    ("node_netstat_Tcp_CurrEstab", "", Small),
    ("node_netstat_Tcp_InSegs", "", Counter(900)),
    ("node_netstat_Tcp_RetransSegs", "", Counter(2)),
    ("node_network_carrier", NETWORK, Constant(1.0)),
    ("node_network_mtu_bytes", NETWORK, Constant(1500.0)),
    ("node_network_receive_bytes_total", NETWORK, Counter(120_000)),
    ("node_network_receive_drop_total", NETWORK, Constant(0.0)),
    ("node_network_receive_errs_total", NETWORK, Constant(0.0)),
    ("node_network_receive_packets_total", NETWORK, Counter(420)),
    ("node_network_speed_bytes", NETWORK, Constant(125_000_000.0)),
    ("node_network_transmit_bytes_total", NETWORK, Counter(98_000)),
    ("node_network_transmit_packets_total", NETWORK, Counter(380)),
    ("node_network_up", NETWORK, Constant(1.0)),
    ("node_procs_running", "", Small),
    ("node_schedstat_running_seconds_total", CPU, Seconds),
    ("node_schedstat_timeslices_total", CPU, Counter(2600)),
    ("node_scrape_collector_duration_seconds", COLLECTOR, Duration),
    ("node_scrape_collector_success", COLLECTOR, Constant(1.0)),
    ("node_softnet_dropped_total", CPU, Constant(0.0)),
    ("node_softnet_processed_total", CPU, Counter(510)),
    ("node_softnet_times_squeezed_total", CPU, Constant(3.0)),
    ("node_systemd_unit_state", UNIT, Active),
    ("node_vmstat_pgfault", "", Counter(15_000)),
    ("node_vmstat_pgpgin", "", Counter(700)),
];

/// The time of the first tick, in milliseconds.
pub const NOW: i64 = 1_763_637_480_123;

/// A host: its series, and how its values move.
pub struct Host {
    /// The series, with metadata.
    pub layout: Arc<Layout>,
    source: u64,
    /// The values that hosts of one group share.
    group: u64,
    /// Habit, and index within the family, per series.
    habits: Vec<(Habit, u64)>,
}

impl Host {
    /// The `number`th host; hosts of one `group` show the same values.
    pub fn new(number: u64, group: u64) -> Self {
        Self::with_pods(number, group, 0)
    }

    /// The same with labels of so many pods spread over its series, about 200 bytes a series in all; 0 for none.
    pub fn with_pods(number: u64, group: u64, pods: u64) -> Self {
        let (mut builder, mut habits) = (LayoutBuilder::default(), Vec::new());
        let instance = format!("10.0.{}.{}:9100", number / 250, number % 250);
        for &(family, labels, habit) in FAMILIES {
            let metadata = metadata(family).shared();
            for (index, mut series) in expand(labels).into_iter().enumerate() {
                if pods > 0 {
                    series.extend(pod(mix(number, (habits.len() as u64) % pods)));
                }
                series.extend([("__name__", family.to_owned()), ("instance", instance.clone()), ("job", "node".to_owned())]);
                series.sort();
                let pairs = series.iter().map(|(name, value)| (*name, value.as_str()));
                assert!(builder.push_with(pairs, Some(&metadata)).is_ok());
                habits.push((habit, index as u64));
            }
        }
        Self { layout: Arc::new(builder.finish()), source: mix(number, 77), group, habits }
    }

    /// What a scrape at `tick` gives.
    pub fn batch(&self, tick: u64) -> Batch {
        let values: Vec<f64> = self.habits.iter().zip(0..).map(|(habit, row)| value(*habit, row, self.group, tick)).collect();
        Batch::new(self.source, self.layout.clone(), NOW + 15_000 * tick as i64, values)
    }
}

fn pod(id: u64) -> [(&'static str, String); 4] {
    let (high, low) = (mix(id, 2), mix(id, 3));
    [
        ("container", "worker".to_owned()),
        ("namespace", "orders-production".to_owned()),
        ("pod", format!("order-processing-worker-{:08x}-{:05x}", id >> 52, high >> 44)),
        ("uid", format!("{:08x}-{:04x}-{:04x}-{:012x}", high >> 32, high & 0xffff, low >> 48, low & 0xffff_ffff_ffff)),
    ]
}

fn metadata(family: &str) -> Metadata {
    let kind = if family.ends_with("_total") { MetricType::Counter } else { MetricType::Gauge };
    let words = family.trim_start_matches("node_").replace('_', " ");
    Metadata { family: family.into(), kind, help: format!("What the kernel says about {words} of this host.").into(), unit: "".into() }
}

fn expand(labels: &'static str) -> Vec<Vec<(&'static str, String)>> {
    let mut all: Vec<Vec<(&str, String)>> = vec![Vec::new()];
    for (name, choices) in labels.split_whitespace().filter_map(|label| label.split_once('=')) {
        if let Some(prefix) = choices.strip_prefix('@') {
            let hash = |series: &[(&str, String)]| series[0].1.rsplit('-').next().unwrap_or_default().to_owned();
            all.iter_mut().for_each(|series| series.push((name, format!("{prefix}{}", hash(series)))));
            continue;
        }
        let values = values_of(choices);
        all = all.iter().flat_map(|series| values.iter().map(|value| [series.as_slice(), &[(name, value.clone())]].concat())).collect();
    }
    all
}

fn values_of(choices: &str) -> Vec<String> {
    if let Some((from, to)) = choices.split_once("..") {
        let (head, tail) = (from.trim_end_matches('0'), to.trim_start_matches(|c: char| c.is_ascii_digit()));
        let (tail, count) = if tail.is_empty() { ("", to) } else { (&to[2..], &to[..2]) };
        return (0..count.parse().unwrap_or(0)).map(|n: u32| format!("{head}{n}{tail}")).collect();
    }
    if let Some((prefix, rest)) = choices.split_once('*') {
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().unwrap_or(0);
        return (0..count).map(|n| format!("{prefix}{:08x}{}", mix(n, 1) >> 32, &rest[digits..])).collect();
    }
    choices.split('|').map(str::to_owned).collect()
}

fn value((habit, index): (Habit, u64), row: u64, group: u64, tick: u64) -> f64 {
    let of_series = mix(group << 32, row);
    let of_tick = mix(of_series, tick);
    match habit {
        Constant(value) => value,
        Active => f64::from(u8::from(index.is_multiple_of(5))),
        Counter(rate) => {
            let rate = u64::from(rate);
            (of_series % (rate * 100_000) + tick * rate + of_tick % rate) as f64
        }
        Seconds => (of_series % 10_000_000 + tick * 90 + of_tick % 90) as f64 / 100.0,
        Bytes => (of_series % 1_000_000 + 50_000 + of_tick % 10_000) as f64 * 4096.0,
        Level(level) => (u64::from(level) + of_tick % (u64::from(level) / 20 + 1)) as f64,
        Small => (of_tick % 10) as f64,
        Duration => ((of_tick >> 11) as f64 / (1_u64 << 53) as f64 * 1e7).round() / 1e9,
    }
}

/// A well-mixed number out of two (the finaliser of splitmix64).
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
