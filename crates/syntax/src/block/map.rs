//! Bodies that are maps: any attribute, values of one type, no blocks.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::{Block, Decoder, Schema, Statement};
use crate::convert::{FromValue, ToValue, TypeInfo};
use crate::value::Object;

impl<T: FromValue + ToValue + 'static> Block for BTreeMap<String, T> {
    fn schema() -> &'static Schema {
        schema_of::<T>()
    }

    fn decode_fields(decoder: &mut Decoder<'_>) -> Option<Self> {
        decoder.all_attributes()
    }

    fn defaults() -> Option<Self> {
        Some(Self::new())
    }

    fn write_statements(&self, body: &mut Vec<Statement>) {
        body.extend(self.iter().map(|(name, value)| Statement::attribute(name, value.to_value())));
    }

    fn write_object(&self, object: &mut Object) {
        for (name, value) in self {
            object.insert(name.as_str(), value.to_value());
        }
    }
}

/// A static inside a generic function would be shared by all its instances, hence the table: one leaked schema per
/// element type of the program.
fn schema_of<T: FromValue + 'static>() -> &'static Schema {
    static SCHEMAS: OnceLock<Mutex<HashMap<TypeId, &'static Schema>>> = OnceLock::new();
    let mut schemas = SCHEMAS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    schemas
        .entry(TypeId::of::<T>())
        .or_insert_with(|| Box::leak(Box::new(Schema { map_of: Some(TypeInfo::of::<T>()), ..Schema::default() })))
}
