//! Other ways to write a body of the text format: in OpenMetrics, and with what only some exporters write.

/// The same body in OpenMetrics: counters are families without `_total`.
pub fn open_metrics(body: &str) -> String {
    let family = |line: &str| line.replacen("_total ", " ", 1).replace(" untyped", " unknown") + "\n";
    body.lines().map(|line| if line.starts_with('#') { family(line) } else { format!("{line}\n") }).collect::<String>() + "# EOF\n"
}

/// The body with something behind the value of each `nth` sample.
pub fn with_ends(body: &str, nth: usize, end: &str) -> String {
    let mut samples = 0;
    let line = |line: &str| {
        samples += usize::from(!line.starts_with('#'));
        let end = if line.starts_with('#') || samples % nth > 0 { "" } else { end };
        format!("{line}{end}\n")
    };
    body.lines().map(line).collect()
}

/// The body in OpenMetrics with a `_created` line behind each counter.
pub fn with_created(body: &str) -> String {
    let line = |line: &str| {
        let series = line.rsplit_once(' ').map_or("", |(series, _)| series);
        let created = series.replacen("_total{", "_created{", 1);
        if line.starts_with('#') || created == series { format!("{line}\n") } else { format!("{line}\n{created} 1700000000.123\n") }
    };
    body.lines().map(line).collect()
}
