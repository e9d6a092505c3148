//! `collector join`: `run` as a member of a fleet, telling on stderr how the joining goes.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::run::Run;

#[derive(Args)]
pub struct Join {
    /// Members to join: HOST:PORT, also with dns+ or dnssrv+ before it; all members may be given the same list
    #[arg(long, value_delimiter = ',', required = true, env = "COLLECTOR_PEERS", value_name = "HOST:PORT")]
    peers: Vec<String>,
    #[command(flatten)]
    run: Run,
}

impl Join {
    pub fn execute(mut self) -> Result<ExitCode> {
        let cluster = &mut self.run.flags.cluster;
        cluster.enabled = true;
        cluster.join_addresses.splice(0..0, self.peers);
        self.run.narrate().execute()
    }
}
