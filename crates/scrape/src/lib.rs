//! The scrape engine: target sets, slots, loops and limits of a scrape job. It knows no configuration language, no cluster protocol and
//! no relabelling: those belong to the component that drives it, to `cluster`, and to `prometheus.relabel`.

pub mod series;
