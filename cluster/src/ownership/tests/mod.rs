//! Scenarios with a few machines and no delays, each for one rule. Schedules of all kinds are the simulation's part.

mod bounds;
mod claiming;
mod fence;
mod granting;
mod knowing;
mod leaving;
mod rig;
