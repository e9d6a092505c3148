//! What the product offers to components beyond the contract (the cluster, the address of the own listener), found by type, so that this
//! crate knows none of it.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use syntax::Stability;

/// Services by their type.
#[derive(Clone, Default)]
pub struct Services(Arc<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Services {
    /// These services and one more; an older one of the same type is replaced.
    #[must_use]
    pub fn with<T: Any + Send + Sync>(self, service: T) -> Self {
        let mut all = (*self.0).clone();
        all.insert(TypeId::of::<T>(), Arc::new(service));
        Self(Arc::new(all))
    }

    /// The service of type `T`, if the product offers one.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.get(&TypeId::of::<T>())?.clone().downcast().ok()
    }
}

/// The lowest stability of features that the product admits (`--stability.level`), for components with arguments that are less settled
/// than they are. Without it, only settled ones.
#[derive(Clone, Copy, Debug)]
pub struct StabilityLevel(pub Stability);

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Services({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_found_by_its_type_and_replaced_by_a_newer_one() {
        let services = Services::default().with(1_u8).with("text").with(2_u8);
        assert_eq!(services.get::<u8>().as_deref(), Some(&2));
        assert_eq!(services.get::<&str>().as_deref(), Some(&"text"));
        assert!(services.get::<u16>().is_none());
    }
}
