//! The components that the product was built with, by name.

use std::collections::HashMap;

use component::Registration;

/// Lists of components, a list per family. Statics of the product.
pub type Families = &'static [&'static [Registration]];

/// All components by name.
pub(crate) struct Catalog(HashMap<&'static str, &'static Registration>);

impl Catalog {
    /// The components of all families.
    pub fn new(families: Families) -> Self {
        Self(families.iter().flat_map(|family| family.iter()).map(|registration| (registration.name, registration)).collect())
    }

    /// The component with this name.
    pub fn get(&self, name: &str) -> Option<&'static Registration> {
        self.0.get(name).copied()
    }

    /// All names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}
