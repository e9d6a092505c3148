//! A target as the language passes it: a capsule over a label set that can be read like an object.

use std::any::Any;

use model::{Labels, LabelsBuilder};
use syntax::{Capsule, FromValue, Object, ToValue, Value, ValueError};

/// One discovered target.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Target(pub Labels);

impl Capsule for Target {
    fn type_name(&self) -> &str {
        "target"
    }

    fn equals(&self, other: &dyn Capsule) -> bool {
        other.as_any().downcast_ref::<Self>() == Some(self)
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.0.get(name).map(|value| Value::String(value.into()))
    }

    fn to_object(&self) -> Option<Object> {
        Some(self.0.iter().map(|(name, value)| (name, Value::String(value.into()))).collect())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn display(&self) -> String {
        self.0.to_string()
    }
}

impl FromValue for Target {
    /// From another target, or from an object whose values are strings or can be shown as such; null and secrets are refused.
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        if let Some(target) = value.downcast::<Self>() {
            return Ok((*target).clone());
        }
        let object = value.to_object().ok_or_else(|| ValueError::mismatch("target", value))?;
        let mut labels = LabelsBuilder::default();
        for (name, value) in object.iter() {
            let text = label_value(value).map_err(|error| error.in_field(&**name))?;
            labels.set(name, &text);
        }
        Ok(Self(labels.build()))
    }

    fn type_name() -> String {
        "map(string)".to_owned()
    }

    fn stand_in() -> Option<Self> {
        Some(Self(Labels::empty()))
    }
}

fn label_value(value: &Value) -> Result<String, ValueError> {
    match value {
        Value::String(text) => Ok(text.to_string()),
        Value::Secret(_) => Err(ValueError::custom("cannot use a secret as a target value")),
        Value::Null => Err(ValueError::custom("cannot use null as a target value")),
        Value::OptionalSecret(_) => String::from_value(value),
        other => Ok(other.to_string()),
    }
}

impl ToValue for Target {
    fn to_value(&self) -> Value {
        Value::capsule(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syntax::Secret;

    fn object(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
        Value::object(pairs.into_iter().collect())
    }

    #[test]
    fn an_object_becomes_a_target_and_can_be_read_again() {
        let target = Target::from_value(&object([("__address__", "a:1".to_value()), ("shard", 3_i64.to_value())])).unwrap();
        assert_eq!(target.0.get("shard"), Some("3"));
        let value = target.to_value();
        assert_eq!(Target::from_value(&value).unwrap(), target);
        assert_eq!(value.to_object().unwrap().get("__address__"), Some(&"a:1".to_value()));
    }

    #[test]
    fn secrets_null_and_other_types_are_refused_with_a_reason() {
        let secret = Target::from_value(&object([("token", Value::Secret(Secret::new("hunter2")))])).unwrap_err().to_string();
        assert!(secret.contains("cannot use a secret as a target value"), "{secret}");
        assert!(!secret.contains("hunter2"));
        assert!(Target::from_value(&object([("a", Value::Null)])).is_err());
        assert!(Target::from_value(&"text".to_value()).is_err());
    }
}
