//! Opaque values that components pass to each other through expressions.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use super::{Object, Value};

/// A value that the language carries but does not look into: a receiver, a target, relabel rules.
///
/// A capsule that answers [`Capsule::to_object`] can be read with `.name` and `["name"]` and assigned where a map is
/// expected.
pub trait Capsule: Any + Debug + Send + Sync {
    /// The name in messages: `expected capsule("prometheus.Interceptor"), got …`.
    fn type_name(&self) -> &str;

    /// Deep equality; decides whether changed exports are propagated.
    fn equals(&self, other: &dyn Capsule) -> bool;

    /// A field by name. The default looks into [`Capsule::to_object`].
    fn field(&self, name: &str) -> Option<Value> {
        self.to_object()?.get(name).cloned()
    }

    /// All fields, if the capsule can be read as an object.
    fn to_object(&self) -> Option<Object> {
        None
    }

    /// The capsule as `Any`, always `self`.
    fn as_any(&self) -> &dyn Any;

    /// What the UI shows in place of the value. Must not tell secrets.
    fn display(&self) -> String {
        format!("capsule({:?})", self.type_name())
    }
}

/// The capsule as its own type.
pub(super) fn downcast<T: Capsule>(capsule: Arc<dyn Capsule>) -> Option<Arc<T>> {
    let any: Arc<dyn Any + Send + Sync> = capsule;
    any.downcast().ok()
}
