//! `prometheus.receive_http`.

pub mod intake;
