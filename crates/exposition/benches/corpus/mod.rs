//! A body like that of one host's node_exporter ("ne1k"): about 1 000 samples of 82 bytes each, HELP and TYPE lines among them.

use std::fmt::Write as _;

/// Deterministic and without a crate: one generator per body, so that bodies with the same seed are equal.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A value as exporters write them: Go's shortest `%g`, many zeros, many large counters.
    fn value(&mut self) -> String {
        let random = self.next();
        match random % 8 {
            0 | 1 => "0".to_owned(),
            2 => (random % 1000).to_string(),
            3 => format!("{}.{:02}", random % 100_000, random % 97),
            4 => format!("{}.{:06}e+{:02}", 1 + random % 9, random % 1_000_000, 6 + random % 6),
            5 => format!("{}.{:09}e+09", 1 + random % 9, random % 1_000_000_000),
            6 => format!("0.{:017}", random % 100_000_000_000_000_000),
            _ => "1".to_owned(),
        }
    }
}

const SUBSYSTEMS: [&str; 14] = [
    "memory",
    "netstat",
    "vmstat",
    "sockstat",
    "filesystem",
    "timex",
    "schedstat",
    "pressure",
    "entropy",
    "arp",
    "nf",
    "softnet",
    "xfs",
    "zfs",
];
const MODES: [&str; 8] = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];

/// A body with the values that belong to `seed`; the series are the same for every seed.
pub fn body(seed: u64) -> String {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut out = String::new();
    let mut samples = 0;
    header(&mut out, "node_cpu_seconds_total", "Seconds the CPUs spent in each mode.", "counter");
    for cpu in 0..32 {
        for mode in MODES {
            line(&mut out, &mut samples, &format!("node_cpu_seconds_total{{cpu=\"{cpu}\",mode=\"{mode}\"}}"), &mut random);
        }
    }
    for name in ["receive_bytes", "receive_packets", "receive_errs", "transmit_bytes", "transmit_packets", "transmit_drop"] {
        header(&mut out, &format!("node_network_{name}_total"), &format!("Network device statistic {name}."), "counter");
        for device in 0..24 {
            line(&mut out, &mut samples, &format!("node_network_{name}_total{{device=\"veth{device:04x}c\"}}"), &mut random);
        }
    }
    for name in ["reads_completed", "read_bytes", "writes_completed", "written_bytes", "io_time_seconds"] {
        header(&mut out, &format!("node_disk_{name}_total"), &format!("The total number of {name} by a disk."), "counter");
        for device in 0..16 {
            line(&mut out, &mut samples, &format!("node_disk_{name}_total{{device=\"nvme{device}n1p{}\"}}", device % 3), &mut random);
        }
    }
    for name in ["avail_bytes", "files", "files_free", "free_bytes", "readonly", "size_bytes"] {
        header(&mut out, &format!("node_filesystem_{name}"), &format!("Filesystem {name}."), "gauge");
        for mount in 0..40 {
            let series = format!(
                "node_filesystem_{name}{{device=\"/dev/mapper/vg-lv{mount}\",fstype=\"ext4\",mountpoint=\"/var/lib/containers/storage/{mount:08x}\"}}"
            );
            line(&mut out, &mut samples, &series, &mut random);
        }
    }
    let mut number = 0;
    while samples < 1013 {
        let name = format!("node_{}_Metric{number}_some_counter", SUBSYSTEMS[number % SUBSYSTEMS.len()]);
        header(&mut out, &name, &format!("Statistic {name} from the kernel."), "untyped");
        line(&mut out, &mut samples, &name, &mut random);
        number += 1;
    }
    out
}

fn header(out: &mut String, family: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP {family} {help}\n# TYPE {family} {kind}");
}

fn line(out: &mut String, samples: &mut usize, series: &str, random: &mut Random) {
    let _ = writeln!(out, "{series} {}", random.value());
    *samples += 1;
}
