//! What the nodes are configured with: a pipeline that is written for the scenario, or the user's template with the addresses filled in.

use std::path::Path;
use std::time::Duration;

use super::EngineError;
use crate::alloy::Pipeline;
use crate::receiver::Receiver;
use crate::scenario::{Action, Change, Scenario};
use crate::targets::Targets;

/// How long a sender of a written configuration may wait for a full batch.
pub(super) const BATCH_DEADLINE: Duration = Duration::from_secs(1);
/// How often a written configuration reads the list of targets, or once an interval if that is longer.
const REFRESH: Duration = Duration::from_secs(1);

/// Where the targets are listed.
const SD_URL: &str = "{{SD_URL}}";
/// Where samples go.
const WRITE_URL: &str = "{{WRITE_URL}}";
/// The scrape interval, such as `2000ms`.
const INTERVAL: &str = "{{INTERVAL}}";

/// How often the list of targets is read.
pub(super) fn refresh(scenario: &Scenario) -> Duration {
    REFRESH.max(scenario.interval())
}

/// The configuration for a scenario.
pub(super) fn written(targets: &Targets, receiver: &Receiver, scenario: &Scenario) -> String {
    let interval = scenario.interval();
    Pipeline {
        refresh: refresh(scenario),
        batch_deadline: Some(BATCH_DEADLINE.min(interval)),
        ..Pipeline::new(targets.sd_url(), receiver.url(), interval)
    }
    .to_string()
}

/// Reads a template.
pub(super) fn template(file: &Path) -> Result<String, EngineError> {
    let wrong = |reason| EngineError::Template { file: file.to_owned(), reason };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(format!("can't read it: {error}")))?;
    match [SD_URL, WRITE_URL].into_iter().find(|placeholder| !text.contains(placeholder)) {
        None => Ok(text),
        Some(missing) => Err(wrong(format!(
            "has no {missing}: a template says {SD_URL} where the URL of discovery.http stands and {WRITE_URL} where that of \
             prometheus.remote_write stands; {INTERVAL} is the scrape interval"
        ))),
    }
}

/// The templates of all steps that bring one, read before anything starts.
pub(super) fn templates(scenario: &Scenario) -> Result<Vec<Option<String>>, EngineError> {
    let of = |action: &Action| match action {
        Action::Configure(Change::Template(file), _) => template(file).map(Some),
        _ => Ok(None),
    };
    scenario.steps.iter().map(|step| of(&step.action)).collect()
}

/// Fills in the addresses.
pub(super) fn fill(template: &str, targets: &Targets, receiver: &Receiver, scenario: &Scenario) -> String {
    let interval = format!("{}ms", scenario.interval().as_millis());
    template.replace(SD_URL, &targets.sd_url()).replace(WRITE_URL, &receiver.url()).replace(INTERVAL, &interval)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::receiver::Sink;
    use crate::targets::TargetOptions;

    #[tokio::test]
    async fn a_template_gets_the_addresses_and_must_want_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("my.alloy");
        std::fs::write(&file, "url = \"{{SD_URL}}\" every \"{{INTERVAL}}\" to \"{{WRITE_URL}}\"").unwrap();
        let targets = Targets::start(TargetOptions::default()).await.unwrap();
        let receiver = Receiver::start(Arc::new(Sink)).await.unwrap();
        let filled = fill(&template(&file).unwrap(), &targets, &receiver, &Scenario::default());
        assert_eq!(filled, format!("url = \"{}\" every \"2000ms\" to \"{}\"", targets.sd_url(), receiver.url()));
        std::fs::write(&file, "url = \"{{SD_URL}}\"").unwrap();
        let error = template(&file).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("my.alloy: has no {{WRITE_URL}}: "), "{error}");
        assert!(template(&dir.path().join("none")).unwrap_err().to_string().contains("can't read it"));
    }
}
