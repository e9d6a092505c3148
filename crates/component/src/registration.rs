//! How a family names its components to the product: a static list of [`Registration`]s, the only link between a component and the
//! runtime.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use prometheus::Registry;
use syntax::{Block, Diagnostics, Schema, Scope, Stability, Value, ast};
use tokio::sync::{mpsc, watch};

use crate::component::{BuildError, Component};
use crate::context::{Context, HoldCell, Setup};
use crate::health::HealthCell;
use crate::instance::{DEBUG_REQUESTS, ErasedArguments, GiveUpdate, Instance, InstanceControl};
use crate::serve::HttpCell;
use crate::services::Services;

/// Where a component is built: what the runtime knows of it.
pub struct Host {
    /// Global ID.
    pub id: Arc<str>,
    /// Path of the module that holds it, `/` for the root.
    pub module_path: String,
    /// Local ID within the module.
    pub local_id: String,
    /// The folder that belongs to it.
    pub data_path: PathBuf,
    /// The product's services.
    pub services: Services,
    /// Called with new exports whenever they change. Must return quickly; may be called from any thread.
    pub on_export: Arc<dyn Fn(Value) + Send + Sync>,
}

/// Evaluates a block to arguments.
type Decode = fn(&ast::Block, &Scope) -> Result<Arc<dyn ErasedArguments>, Diagnostics>;

/// What the runtime can do with a kind of component.
#[derive(Clone, Copy)]
pub struct Registration {
    /// The block's name.
    pub name: &'static str,
    /// How far the component may be relied upon.
    pub stability: Stability,
    /// What the block takes.
    pub arguments: fn() -> &'static Schema,
    /// What it exports.
    pub exports: fn() -> &'static Schema,
    decode: Decode,
    build: fn(&Arc<dyn ErasedArguments>, Host) -> Result<Instance, BuildError>,
}

impl Registration {
    /// That of `C`. To be stored in a `static`.
    #[must_use]
    pub const fn of<C: Component>() -> Self {
        Self {
            name: C::NAME,
            stability: C::STABILITY,
            arguments: C::Arguments::schema,
            exports: C::Exports::schema,
            decode: decode::<C>,
            build: build::<C>,
        }
    }

    /// Evaluates a block to arguments.
    ///
    /// # Errors
    /// Everything that is wrong with it, with positions.
    pub fn decode(&self, block: &ast::Block, scope: &Scope) -> Result<Arc<dyn ErasedArguments>, Diagnostics> {
        (self.decode)(block, scope)
    }

    /// Builds an instance. Must be called inside the data runtime.
    ///
    /// # Errors
    /// What the component says, or that the arguments are another component's.
    pub fn build(&self, arguments: &Arc<dyn ErasedArguments>, host: Host) -> Result<Instance, BuildError> {
        (self.build)(arguments, host)
    }
}

fn decode<C: Component>(block: &ast::Block, scope: &Scope) -> Result<Arc<dyn ErasedArguments>, Diagnostics> {
    C::Arguments::decode_component(block, scope).map(|arguments| Arc::new(arguments) as Arc<dyn ErasedArguments>)
}

fn build<C: Component>(arguments: &Arc<dyn ErasedArguments>, host: Host) -> Result<Instance, BuildError> {
    let Some(arguments) = (**arguments).as_any_ref().downcast_ref::<C::Arguments>() else {
        return Err(BuildError::new(format!("these are not the arguments of {}", C::NAME)));
    };
    let setup = setup(&host)?;
    let (component, exports) = C::build(arguments.clone(), &setup)?;
    let value = exports.to_value();
    let (updates, updates_in) = watch::channel(None);
    let (debug, debug_in) = mpsc::channel(DEBUG_REQUESTS);
    let (stop, stop_in) = watch::channel(None);
    let context = Context::<C>::new(setup.clone(), updates_in, debug_in, stop_in, exports, host.on_export);
    let update: GiveUpdate = Box::new(move |arguments| match arguments.as_any().downcast::<C::Arguments>() {
        Ok(arguments) => {
            updates.send_replace(Some(arguments));
            true
        }
        Err(_) => false,
    });
    let control = InstanceControl { setup, update, debug, stop };
    Ok(Instance { run: Box::pin(component.run(context)), exports: value, control })
}

fn setup(host: &Host) -> Result<Setup, BuildError> {
    let labels =
        HashMap::from([("component_id".to_owned(), host.local_id.clone()), ("component_path".to_owned(), host.module_path.clone())]);
    Ok(Setup {
        id: host.id.clone(),
        data_path: host.data_path.clone(),
        registry: Registry::new_custom(None, Some(labels)).map_err(BuildError::new)?,
        services: host.services.clone(),
        health: HealthCell::default(),
        http: HttpCell::default(),
        hold: HoldCell::default(),
    })
}
