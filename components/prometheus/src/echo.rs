//! `prometheus.echo`: writes what it receives to standard output, for people who want to see what flows.

use std::fmt::Write as _;
use std::io::Write as _;

use component::{BuildError, Component, Context, Event, MetricsReceiver, RunError, Setup};
use model::{Batch, ConsumeMetrics, Refused, SeriesRef};
use syntax::Block;
use tokio::sync::mpsc;

/// Batches that may wait for a slow terminal or pipe; then further ones are refused.
const WAITING: usize = 64;

/// Writes metrics to standard output.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::validate")]
pub struct Arguments {
    /// The format of the lines; only `text` is there.
    #[syntax(default = "text".to_owned())]
    pub format: String,
}

impl Arguments {
    fn validate(&self) -> Result<(), String> {
        match self.format.as_str() {
            "text" => Ok(()),
            "openmetrics" => Err("format \"openmetrics\" is not supported yet; use \"text\"".to_owned()),
            other => Err(format!("unknown format {other:?}; use \"text\"")),
        }
    }
}

/// Exports of `prometheus.echo`.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct Exports {
    /// Takes the metrics to write.
    #[syntax(required)]
    pub receiver: MetricsReceiver,
}

/// The component.
pub struct Echo {
    receiver: MetricsReceiver,
    batches: mpsc::Receiver<Batch>,
}

impl Component for Echo {
    const NAME: &'static str = "prometheus.echo";
    const STABILITY: syntax::Stability = syntax::Stability::Experimental;
    type Arguments = Arguments;
    type Exports = Exports;

    fn build(_: Arguments, setup: &Setup) -> Result<(Self, Exports), BuildError> {
        let receiver = MetricsReceiver::new(setup.id());
        let (queue, batches) = mpsc::channel(WAITING);
        receiver.fill(Queue(queue));
        Ok((Self { receiver: receiver.clone(), batches }, Exports { receiver }))
    }

    async fn run(mut self, mut context: Context<Self>) -> Result<(), RunError> {
        context.health().healthy("writing to standard output");
        loop {
            tokio::select! {
                event = context.next() => if let Event::Stop(_) = event { break },
                Some(batch) = self.batches.recv() => print(batch).await?,
            }
        }
        self.receiver.clear();
        while let Ok(batch) = self.batches.try_recv() {
            print(batch).await?;
        }
        Ok(())
    }
}

struct Queue(mpsc::Sender<Batch>);

impl ConsumeMetrics for Queue {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        self.0.try_send(batch).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::Closed,
        })
    }
}

/// Writes a batch; standard output may block, so not on a worker thread.
async fn print(batch: Batch) -> Result<(), RunError> {
    let write = move || std::io::stdout().lock().write_all(lines(&batch).as_bytes());
    tokio::task::spawn_blocking(write).await.map_err(RunError::new)?.map_err(RunError::new)
}

fn lines(batch: &Batch) -> String {
    let mut text = String::new();
    for (series, timestamp, value) in batch.iter() {
        line(&mut text, series, timestamp, value);
    }
    text
}

fn line(text: &mut String, series: SeriesRef<'_>, timestamp: i64, value: f64) {
    text.push_str(series.metric_name());
    let mut open = '{';
    for (name, value) in series.iter().filter(|(name, _)| *name != model::labels::METRIC_NAME) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{open}{name}=\"{value}\""); // writing to a string never fails
        open = ',';
    }
    if open == ',' {
        text.push('}');
    }
    let value = match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        value => value.to_string(),
    };
    let _ = writeln!(text, " {value} {timestamp}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::LayoutBuilder;
    use std::sync::Arc;

    #[test]
    fn lines_are_in_the_text_format() {
        let mut layout = LayoutBuilder::default();
        layout.push([("__name__", "up")].into_iter()).unwrap();
        layout.push([("__name__", "x"), ("a", "q\"\\\n"), ("b", "2")].into_iter()).unwrap();
        let batch = Batch::new(1, Arc::new(layout.finish()), 1500, vec![1.0, f64::INFINITY]);
        assert_eq!(lines(&batch), "up 1 1500\nx{a=\"q\\\"\\\\\\n\",b=\"2\"} +Inf 1500\n");
    }

    #[test]
    fn a_full_queue_refuses() {
        let (sender, receiver) = mpsc::channel(1);
        let queue = Queue(sender);
        let batch = || Batch::new(1, Arc::new(model::Layout::default()), 0, vec![]);
        assert_eq!(queue.consume(batch()), Ok(()));
        assert_eq!(queue.consume(batch()), Err(Refused::Full));
        drop(receiver);
        assert_eq!(queue.consume(batch()), Err(Refused::Closed));
    }
}
