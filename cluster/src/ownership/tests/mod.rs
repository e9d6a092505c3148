//! Scenarios with a few machines and no delays, each for one rule. Schedules of all kinds are the simulation's part.

mod bounds;
mod fence;
mod handing_over;
mod knowing;
mod leaving;
mod rig;
