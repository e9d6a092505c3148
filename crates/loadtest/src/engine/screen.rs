//! The terminal: a table that is redrawn in place, or plain lines where there is no terminal. No colours, at most 79 columns.

use std::io::IsTerminal as _;

use parking_lot::Mutex;

use super::story::Event;
use super::watch::{Row, View};
use crate::report::{clock, short};

/// Longest line: wrapped lines would spoil the redrawing.
const COLUMNS: usize = 79;
/// Events below the table: it must stay on one screen, or it can't be redrawn.
const EVENTS: usize = 12;
/// Nodes that are listed, for the same reason; all are in the report.
const ROWS: usize = 20;
/// Without a terminal, a line of figures comes with every so many looks.
const PLAIN_EVERY: u64 = 5;

/// Where a run is shown.
pub(crate) struct Screen {
    redraw: bool,
    /// The report is JSON on standard output, and all else goes to standard error.
    json: bool,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    /// Lines of the table on the screen.
    lines: usize,
    /// Events that were printed as lines.
    events: usize,
    looks: u64,
}

impl Screen {
    pub(crate) fn new(plain: bool, json: bool) -> Self {
        let terminal = if json { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        Self { redraw: !plain && terminal, json, shown: Mutex::default() }
    }

    /// Prints a line that stays.
    pub(crate) fn line(&self, line: &str) {
        self.write(&format!("{line}\n"));
    }

    /// Shows the newest figures.
    pub(crate) fn show(&self, view: &View, events: &[Event]) {
        let mut shown = self.shown.lock();
        let text = if self.redraw {
            let text = table(view, events);
            let back = if shown.lines > 0 { format!("\x1b[{}F\x1b[J", shown.lines) } else { String::new() };
            shown.lines = text.lines().count();
            back + &text
        } else {
            let mut text: String = events[shown.events.min(events.len())..].iter().map(|e| event(e) + "\n").collect();
            shown.events = events.len();
            if shown.looks.is_multiple_of(PLAIN_EVERY) {
                text += &plain(view);
            }
            shown.looks += 1;
            text
        };
        drop(shown);
        self.write(&text);
    }

    /// Leaves what is shown where it is and prints the end below it.
    pub(crate) fn finish(&self, text: &str) {
        self.shown.lock().lines = 0;
        self.write(&format!("\n{text}\n"));
    }

    /// Prints the report.
    pub(crate) fn report(&self, table: &str, json: &serde_json::Value) {
        if self.json {
            print(&mut std::io::stdout().lock(), &format!("{json:#}\n"));
        } else {
            self.finish(table);
        }
    }

    fn write(&self, text: &str) {
        if self.json { print(&mut std::io::stderr().lock(), text) } else { print(&mut std::io::stdout().lock(), text) }
    }
}

/// A closed output (`| head`) is no reason to break off: the verdict is in the exit code.
fn print(out: &mut impl std::io::Write, text: &str) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The whole table with its story.
fn table(view: &View, events: &[Event]) -> String {
    let mut lines = vec![
        format!("{}   {} of {}", view.load, clock(view.elapsed), clock(view.whole)),
        String::new(),
        cells(["node", "state", "targets", "samples/s", "gaps", "duplicates", "RSS"].map(str::to_owned)),
    ];
    lines.extend(view.rows.iter().take(ROWS).map(row));
    if let Some(more) = view.rows.len().checked_sub(ROWS).filter(|more| *more > 0) {
        lines.push(format!("{more} nodes more"));
    }
    let total = View::targets(view);
    lines.push(cells([
        "total".to_owned(),
        String::new(),
        total.to_string(),
        short(view.samples_per_second),
        view.gaps.to_string(),
        view.duplicates.to_string(),
        String::new(),
    ]));
    lines.push(match view.late {
        0 => String::new(),
        late => format!("{late} targets without a sample for more than two intervals"),
    });
    lines.extend(events.iter().skip(events.len().saturating_sub(EVENTS)).map(event));
    lines.iter().map(|l| l.chars().take(COLUMNS).collect::<String>() + "\n").collect()
}

fn row(row: &Row) -> String {
    let dash = || "-".to_owned();
    cells([
        row.name.clone(),
        row.state.clone(),
        row.targets.map_or_else(dash, |t| t.to_string()),
        row.samples_per_second.map_or_else(dash, short),
        row.gaps.to_string(),
        row.duplicates.to_string(),
        row.rss_bytes.map_or_else(dash, |b| format!("{} MiB", b >> 20)),
    ])
}

fn cells([node, state, targets, rate, gaps, duplicates, rss]: [String; 7]) -> String {
    format!("{node:<10}{state:<14}{targets:>8}{rate:>11}{gaps:>7}{duplicates:>12}{rss:>10}").trim_end().to_owned()
}

/// One line of figures.
fn plain(view: &View) -> String {
    let states: Vec<String> = view.rows.iter().map(|r| format!("{} {} {}", r.name, r.state, r.targets.unwrap_or(0))).collect();
    format!(
        "{}  targets {}  samples/s {}  gaps {}  duplicates {}  late {}  [{}]\n",
        clock(view.elapsed),
        view.targets(),
        short(view.samples_per_second),
        view.gaps,
        view.duplicates,
        view.late,
        states.join(", ")
    )
}

fn event(event: &Event) -> String {
    format!("{}  {}", clock(event.at()), event.text)
}

impl View {
    fn targets(&self) -> usize {
        self.rows.iter().filter_map(|r| r.targets).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn view() -> View {
        let one = Row {
            name: "node-1".to_owned(),
            state: "participant".to_owned(),
            targets: Some(31),
            samples_per_second: Some(7_750.0),
            gaps: 0,
            duplicates: 0,
            rss_bytes: Some(21 << 20),
        };
        let two = Row { name: "node-2".to_owned(), state: "killed".to_owned(), gaps: 3, ..Row::default() };
        View {
            load: "60 targets × 500 series every 2s".to_owned(),
            elapsed: Duration::from_secs(65),
            whole: Duration::from_secs(90),
            rows: vec![one, two],
            gaps: 3,
            duplicates: 0,
            late: 29,
            samples_per_second: 15_120.0,
        }
    }

    fn events() -> Vec<Event> {
        vec![Event { at_ms: 45_000, text: "node-2 is killed (SIGKILL)".to_owned() }]
    }

    #[test]
    fn the_table_shows_nodes_totals_and_story_in_its_columns() {
        let expected = "60 targets × 500 series every 2s   01:05 of 01:30

node      state          targets  samples/s   gaps  duplicates       RSS
node-1    participant         31       7750      0           0    21 MiB
node-2    killed               -          -      3           0         -
total                         31      15.1k      3           0
29 targets without a sample for more than two intervals
00:45  node-2 is killed (SIGKILL)
";
        assert_eq!(table(&view(), &events()), expected);
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let long = vec![Event { at_ms: 0, text: "x".repeat(500) }];
        assert!(table(&view(), &long).lines().all(|l| l.chars().count() <= COLUMNS));
    }

    #[test]
    fn without_a_terminal_the_figures_are_one_line() {
        let expected = "01:05  targets 31  samples/s 15.1k  gaps 3  duplicates 0  late 29  [node-1 participant 31, node-2 killed 0]\n";
        assert_eq!(plain(&view()), expected);
    }
}
