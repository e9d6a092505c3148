//! The list of families: the only link between the product and its components.

pub mod reference;

use component::Registration;

/// All families. Statics rather than constants: a constant would be copied into every user (measured: release builds three times as dear).
pub static FAMILIES: &[&[Registration]] =
    &[discovery_components::COMPONENTS, local_components::COMPONENTS, prometheus_components::COMPONENTS];

/// All components, by name.
pub fn all() -> Vec<&'static Registration> {
    let mut all: Vec<_> = FAMILIES.iter().flat_map(|family| family.iter()).collect();
    all.sort_by_key(|registration| registration.name);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_none_is_the_beginning_of_another() {
        let names: Vec<_> = all().iter().map(|registration| registration.name).collect();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1]);
            assert!(!pair[1].starts_with(&format!("{}.", pair[0])), "{} is in the way of {}", pair[0], pair[1]);
        }
        for expected in ["discovery.relabel", "local.file", "prometheus.scrape", "prometheus.remote_write"] {
            assert!(names.contains(&expected), "{expected}");
        }
    }
}
