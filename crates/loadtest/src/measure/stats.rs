//! What a process has cost, read from `/proc/<pid>` (proc(5)). Linux only.

use std::io;
use std::time::Duration;

/// CPU time and memory of one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessStats {
    /// User and system time of all its threads since its start, in seconds; resolution 10 ms.
    pub cpu_seconds: f64,
    /// Resident memory now, in bytes.
    pub rss_bytes: u64,
    /// The most it ever was, in bytes.
    pub peak_rss_bytes: u64,
    /// How long the threads that it has now were ready to run and had no processor, all together, in seconds; 0 where the kernel does not
    /// tell.
    pub cpu_wait_seconds: f64,
}

impl ProcessStats {
    /// Reads the figures of a running process.
    ///
    /// # Errors
    /// There is no such process, or the kernel's files look otherwise than documented.
    pub fn read(pid: u32) -> io::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let strange = |what| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}: no {what}"));
        let ticks = cpu_ticks(&stat).ok_or_else(|| strange("CPU times"))?;
        Ok(Self {
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            rss_bytes: kilobytes(&status, "VmRSS:").ok_or_else(|| strange("VmRSS"))?,
            peak_rss_bytes: kilobytes(&status, "VmHWM:").ok_or_else(|| strange("VmHWM"))?,
            cpu_wait_seconds: Duration::from_nanos(waited_nanoseconds(pid)).as_secs_f64(),
        })
    }
}

/// The second field of each thread's `schedstat` (Documentation/scheduler/sched-stats.rst).
fn waited_nanoseconds(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let waited = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    };
    threads.filter_map(waited).sum()
}

/// Fields 14 and 15 (utime, stime); the second field is the name in parentheses, which may hold spaces and parentheses itself.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn kilobytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory() {
        let before = ProcessStats::read(std::process::id()).unwrap();
        let mut work = vec![1_u64; 4 << 20];
        while ProcessStats::read(std::process::id()).unwrap().cpu_seconds < before.cpu_seconds + 0.02 {
            work.iter_mut().for_each(|w| *w = w.wrapping_mul(3));
        }
        let after = ProcessStats::read(std::process::id()).unwrap();
        assert!(after.rss_bytes > (16 << 20) && after.peak_rss_bytes >= after.rss_bytes, "{after:?} with {}", work[0]);
    }

    #[test]
    fn names_with_parentheses_don_t_shift_the_fields() {
        assert_eq!(cpu_ticks("12 (a) (b c) R 1 2 3 4 5 6 7 8 9 10 40 2 0 0"), Some(42));
        assert_eq!(cpu_ticks("12 (a"), None);
        assert_eq!(kilobytes("VmHWM:\t  20 kB\nVmRSS:\t  10 kB\n", "VmRSS:"), Some(10_240));
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(ProcessStats::read(u32::MAX).is_err());
    }
}
