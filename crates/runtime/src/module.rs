//! A module: the path that its blocks' global IDs begin with, and the scope that their expressions see beyond each other. There is one so
//! far, the root; what would make others is refused in [`crate::setting`].

use std::path::{Path, PathBuf};

use syntax::{Scope, ToValue as _, Value};

use crate::source::Source;

/// The variable that holds the directory of the configuration.
pub(crate) const MODULE_PATH: &str = "module_path";

/// A module.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    /// Fragments joined by `/`; empty for the root.
    path: String,
    scope: Scope,
}

impl Module {
    /// The module of the configuration itself.
    pub fn root(stdlib: &Scope, source: &Source) -> Self {
        let directory = source.directory().display().to_string().to_value();
        Self { path: String::new(), scope: stdlib.child().with(MODULE_PATH, directory) }
    }

    /// As the API calls it.
    pub fn id(&self) -> &str {
        &self.path
    }

    /// As metrics call it.
    pub fn label(&self) -> String {
        format!("/{}", self.path)
    }

    /// The ID of a block by which everybody can name it.
    pub fn global_id(&self, local_id: &str) -> String {
        if self.path.is_empty() { local_id.to_owned() } else { format!("{}/{local_id}", self.path) }
    }

    /// A scope in which the exports of the given components are found under their IDs.
    pub fn scope_with<'a>(&self, exports: impl IntoIterator<Item = (&'a str, Value)>) -> Scope {
        let mut scope = self.scope.child();
        let mut heads: Vec<&str> = Vec::new();
        for (id, value) in exports {
            let path: Vec<&str> = id.split('.').collect();
            let head = path.first().copied().unwrap_or_default();
            // What the standard library has under the same head stays there beside the component.
            if !heads.contains(&head) {
                heads.push(head);
                if let Some(outer) = self.scope.lookup(head) {
                    scope.insert(head, outer.clone());
                }
            }
            scope.insert_path(&path, value);
        }
        scope
    }

    /// The folder of a block.
    pub fn storage(&self, below: &Path, local_id: &str) -> PathBuf {
        below.join(self.global_id(local_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syntax::Object;

    fn root() -> Module {
        let library = Object::from_iter([("join", "function".to_value())]);
        Module::root(&Scope::new().with("string", Value::object(library)), &Source::text("t", ""))
    }

    #[test]
    fn exports_are_found_under_their_ids_and_the_module_knows_its_directory() {
        let scope = root().scope_with([("a.b.one", 1_i64.to_value()), ("a.b.two", 2_i64.to_value())]);
        let b = scope.lookup("a").and_then(|a| a.to_object()?.get("b")?.to_object()).unwrap();
        assert_eq!(b.get("two"), Some(&2_i64.to_value()));
        assert_eq!(b.len(), 2);
        assert_eq!(scope.lookup(MODULE_PATH), Some(&".".to_value()));
    }

    #[test]
    fn a_component_that_shadows_the_library_leaves_the_rest_of_it_visible() {
        let scope = root().scope_with([("string.mine.a", 1_i64.to_value())]);
        let string = scope.lookup("string").and_then(Value::to_object).unwrap();
        assert_eq!(string.names().collect::<Vec<_>>(), ["join", "mine"]);
    }

    #[test]
    fn ids_in_the_root_are_local_ones() {
        assert_eq!(root().global_id("a.b.c"), "a.b.c");
        assert_eq!(root().label(), "/");
    }
}
