//! What only an outline is kept of, and what is doubted, read again where it is looked at. It is there for that look, and kept nowhere.
//!
//! Reading takes a turn, of which a namespace has a few; who finds none does not wait for it, and comes again: looks are for all.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, ListParams};
use kube::{Client, Resource};

use super::index::{Index, Indexed};
use super::key::ObjectKey;
use super::pages;
use super::sent::Sent;
use super::slim;
use crate::turns::Turns;

/// Looks that read something again at the same time.
const AT_ONCE: usize = 8;
/// Of these, those of one namespace.
const OF_A_NAMESPACE: usize = 2;
/// For all that a look reads again. What waits so long has waited for the API server.
const DEADLINE: Duration = Duration::from_secs(10);

/// Something that a look needs and only an outline is kept of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlined {
    Release(ObjectKey),
    Deployment(ObjectKey),
    Template(ObjectKey),
}

/// What was read again.
#[derive(Debug, Default)]
pub struct Again {
    releases: BTreeMap<ObjectKey, slim::Release>,
    deployments: BTreeMap<ObjectKey, slim::Deployment>,
    templates: BTreeMap<ObjectKey, slim::StoredTemplate>,
}

impl Again {
    /// A Release, if all of it is known.
    pub fn release<'a>(&'a self, index: &'a Index, key: &ObjectKey) -> Option<&'a slim::Release> {
        let known = index.releases.get(key)?;
        if known.is_outline { self.releases.get(key) } else { Some(known) }
    }

    /// A Deployment, if all of it is known.
    pub fn deployment<'a>(&'a self, index: &'a Index, key: &ObjectKey) -> Option<&'a slim::Deployment> {
        let known = index.deployments.get(key)?;
        if known.is_outline { self.deployments.get(key) } else { Some(known) }
    }

    /// A kept template, if all of it is known.
    pub fn template<'a>(&'a self, index: &'a Index, key: &ObjectKey) -> Option<&'a slim::StoredTemplate> {
        let known = index.templates.get(key)?;
        if known.is_outline { self.templates.get(key) } else { Some(known) }
    }

    /// Whether only an outline is known of it, by now.
    pub fn lacks(&self, index: &Index, wanted: &Outlined) -> bool {
        match wanted {
            Outlined::Release(key) => index.releases.get(key).is_some() && self.release(index, key).is_none(),
            Outlined::Deployment(key) => {
                index.deployments.get(key).is_some() && self.deployment(index, key).is_none()
            }
            Outlined::Template(key) => {
                index.templates.get(key).is_some() && self.template(index, key).is_none()
            }
        }
    }
}

/// Why something was not read again. All of it passes.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    #[error("others read")]
    NoTurn,
    #[error("it is not there any more")]
    Gone,
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Late,
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// Reads again.
pub struct Reader {
    client: Client,
    turns: Turns,
    /// Of who asks what there is now: they do not wait for those who read what was let go.
    turns_now: Turns,
}

impl Reader {
    pub fn of(client: &Client) -> Self {
        let [turns, turns_now] = [(); 2].map(|()| Turns::of(AT_ONCE, OF_A_NAMESPACE));
        Self { client: pages::bounded(client), turns, turns_now }
    }

    /// Reads all of this, for a look at a Release of this namespace.
    ///
    /// # Errors
    /// Why something was not; the others may have been.
    pub async fn read(
        &self,
        namespace: &str,
        wanted: Vec<Outlined>,
        again: &mut Again,
    ) -> Result<(), NotRead> {
        let _turn = self.turns.try_take(namespace).ok_or(NotRead::NoTurn)?;
        let all = async {
            for one in wanted {
                match one {
                    Outlined::Release(key) => {
                        let release = self.one(&key).await?;
                        again.releases.insert(key, release);
                    }
                    Outlined::Deployment(key) => {
                        let deployment = self.one(&key).await?;
                        again.deployments.insert(key, deployment);
                    }
                    Outlined::Template(key) => {
                        let template = self.one(&key).await?;
                        again.templates.insert(key, template);
                    }
                }
            }
            Ok::<(), NotRead>(())
        };
        tokio::time::timeout(DEADLINE, all).await.unwrap_or(Err(NotRead::Late))
    }

    /// An object as it is now, whether or not its watch has brought that.
    ///
    /// # Errors
    /// Why it was not read.
    pub async fn now<K>(&self, key: &ObjectKey) -> Result<K, NotRead>
    where
        K: Indexed<Kind: Resource<Scope = NamespaceResourceScope>>,
    {
        let _turn = self.turns_now.try_take(key.namespace()).ok_or(NotRead::NoTurn)?;
        tokio::time::timeout(DEADLINE, self.one(key)).await.unwrap_or(Err(NotRead::Late))
    }

    /// Listed by its name: that is as little work as a get, and takes the right that a watch has.
    async fn one<K>(&self, key: &ObjectKey) -> Result<K, NotRead>
    where
        K: Indexed<Kind: Resource<Scope = NamespaceResourceScope>>,
    {
        let all: Api<Sent<K>> = Api::namespaced(self.client.clone(), key.namespace());
        let named = ListParams::default().fields(&format!("metadata.name={}", key.name())).limit(1);
        let found = all.list(&named).await?;
        let mut all = found.items.into_iter().map(|sent| sent.object);
        let mut object = all.find(|object| object.metadata().key == *key).ok_or(NotRead::Gone)?;
        object.strip();
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::super::index;
    use super::super::room::Room;
    use super::*;

    /// An API server that has one Deployment, and what it was asked; where it is silent it never answers.
    fn server(is_silent: bool, asked: Arc<Mutex<Vec<String>>>) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            asked.lock().unwrap().push(request.uri().to_string());
            let is_there = request.uri().query().is_some_and(|query| query.contains("shop"));
            async move {
                if is_silent {
                    return std::future::pending().await;
                }
                let items = if is_there { json!([deployment()]) } else { json!([]) };
                let list = json!({"kind": "DeploymentList", "apiVersion": "apps/v1", "metadata": {}, "items": items});
                Ok::<_, std::io::Error>(Response::new(Body::from(list.to_string().into_bytes())))
            }
        });
        Client::new(service, "default")
    }

    fn deployment() -> serde_json::Value {
        json!({
            "metadata": {
                "name": "shop", "namespace": "ns", "uid": "d", "labels": {"tidegate.dev/release": "shop"},
                "annotations": {"tidegate.dev/held": "true", "other": "x"},
            },
            "spec": {"strategy": {"type": "Recreate"}, "template": {"spec": {"containers": [{"image": "shop:2"}]}}},
        })
    }

    fn key() -> ObjectKey {
        ObjectKey::new("ns", "shop")
    }

    /// An index without room for anything.
    fn full() -> Index {
        let mut index = Index::with(Room::of(0), Room::of(0));
        index::apply::<slim::Deployment>(&mut index, serde_json::from_value(deployment()).unwrap());
        index
    }

    #[tokio::test]
    async fn what_has_no_room_is_read_by_its_name_and_is_then_as_it_would_have_been_kept() {
        let (index, asked) = (full(), Arc::<Mutex<Vec<String>>>::default());
        let reader = Reader::of(&server(false, asked.clone()));
        let mut again = Again::default();
        let wanted = Outlined::Deployment(key());
        assert!(again.lacks(&index, &wanted));
        assert!(again.deployment(&index, &key()).is_none(), "an outline says nothing of it");
        reader.read("ns", vec![wanted.clone()], &mut again).await.expect("it is there");
        assert!(!again.lacks(&index, &wanted));
        let read = again.deployment(&index, &key()).expect("it was read");
        assert_eq!(*read.spec.template.images, ["shop:2".to_owned()]);
        assert_eq!(read.metadata.annotation("tidegate.dev/held"), Some("true"));
        assert_eq!(read.metadata.annotation("other"), None);
        let outline = index.deployments.get(&key()).expect("an outline");
        assert_eq!(outline.spec.template.fingerprint, read.spec.template.fingerprint);
        let asked = asked.lock().unwrap();
        let path = "/apis/apps/v1/namespaces/ns/deployments?";
        assert!(asked[0].starts_with(path) && asked[0].contains("metadata.name"), "{asked:?}");
    }

    #[tokio::test]
    async fn what_is_gone_is_not_read() {
        let reader = Reader::of(&server(false, Arc::default()));
        let gone = vec![Outlined::Deployment(ObjectKey::new("ns", "other"))];
        let read = reader.read("ns", gone, &mut Again::default()).await;
        assert!(matches!(read, Err(NotRead::Gone)), "{read:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_those_who_read_from_an_api_server_that_is_silent() {
        let reader = Arc::new(Reader::of(&server(true, Arc::default())));
        let read = |namespace: &str| {
            let (reader, namespace) = (reader.clone(), namespace.to_owned());
            async move {
                let wanted = vec![Outlined::Deployment(ObjectKey::new(&namespace, "shop"))];
                reader.read(&namespace, wanted, &mut Again::default()).await
            }
        };
        let under_way: Vec<_> = (0..OF_A_NAMESPACE).map(|_| tokio::spawn(read("noisy"))).collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(matches!(read("noisy").await, Err(NotRead::NoTurn)), "it has its share");
        let quiet = tokio::spawn(read("quiet"));
        for one in under_way.into_iter().chain([quiet]) {
            let read = one.await.expect("it ends");
            assert!(matches!(read, Err(NotRead::Late)), "{read:?}");
        }
    }
}
