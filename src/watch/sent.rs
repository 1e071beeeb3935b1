//! Objects as a watch sends them: slim views, in the shape that the library wants objects to have.

use std::borrow::Cow;

use kube::Resource;
use kube::api::ObjectMeta;
use serde::{Deserialize, Deserializer};

use super::index::Indexed;

/// An object that was sent. The library asks it for its resourceVersion, from which a watch goes on, and for nothing else.
#[derive(Clone, Debug)]
pub struct Sent<T> {
    pub object: T,
    metadata: ObjectMeta,
}

impl<'de, T: Indexed> Deserialize<'de> for Sent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = T::deserialize(deserializer)?;
        let resource_version = Some(object.metadata().resource_version.to_string());
        Ok(Self { object, metadata: ObjectMeta { resource_version, ..ObjectMeta::default() } })
    }
}

impl<T: Indexed> Resource for Sent<T> {
    type DynamicType = ();
    type Scope = <T::Kind as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        T::Kind::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        T::Kind::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        T::Kind::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        T::Kind::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
