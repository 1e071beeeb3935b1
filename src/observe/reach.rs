//! Where the operator may connect to on the word of whoever wrote a Release: `http`, `tls` and `dns` checks, Prometheus servers, JSON
//! answers, pods' pages. Never where it would be lent a right that its author does not have: clouds' metadata, the operator's own machine, the API
//! server.
//!
//! A name is resolved once, every address that it has is looked at, and the connection goes to exactly those: an answer that changes
//! between look and connection changes nothing. Redirects are not followed and no proxy is asked. It does not keep a request from other
//! hosts of the cluster's network: that is for a NetworkPolicy to say.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Request, RequestBuilder, Response, Url};
use tokio::net::{TcpStream, UdpSocket};

/// Addresses of clouds' own services that lie among those of other hosts.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), // Google
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),  // Scaleway
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),                   // Azure
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),                 // Alibaba
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),                     // Oracle
];
/// The first 32 bits of AWS's: `fd00:ec2::/32`, where metadata (`::254`), credentials of pods (`::23`), DNS and time are; others may come.
const AWS: [u16; 2] = [0xfd00, 0xec2];
/// Names of the same, whatever they resolve to.
const METADATA_NAMES: [&str; 4] =
    ["metadata", "metadata.google.internal", "metadata.azure.internal", "instance-data"];
/// Names of the API server within a cluster, whatever its domain.
const API_SERVER_NAMES: [&str; 3] = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// Where may be connected to. Cheap to copy.
#[derive(Clone)]
pub struct Reach(Arc<Rules>);

#[derive(Clone)]
struct Rules {
    /// `None`: anywhere.
    guarded: Option<Guarded>,
    lookup: Lookup,
    /// `None`: the network.
    wire: Option<Arc<dyn Wire>>,
}

#[derive(Clone)]
struct Guarded {
    api: ApiServer,
    /// Its replicas, as far as they have been told since.
    replicas: Arc<RwLock<BTreeSet<SocketAddr>>>,
    loopback: bool,
}

/// How names become addresses.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

/// What carries requests of HTTP where there is no network: whoever knows what would be answered.
pub trait Wire: Send + Sync + 'static {
    /// The answer to a request that may be sent.
    fn carry(&self, request: Request) -> BoxFuture<'static, reqwest::Result<Response>>;
}

/// Where the API server is, as far as it is known from the start.
#[derive(Clone, Debug, Default)]
pub struct ApiServer {
    names: BTreeSet<String>,
    /// All of their ports.
    addresses: BTreeSet<IpAddr>,
    sockets: BTreeSet<SocketAddr>,
}

impl ApiServer {
    /// `url`: as the client asks for it. `service`: the address of its Service, as pods are told it. `advertised`: what it says of
    /// itself, as `address:port`. What is none of these is left out.
    pub fn known(url: &str, service: Option<&str>, advertised: &[String]) -> Self {
        let mut known = Self::default();
        if let Ok(url) = Url::parse(url) {
            match literal(&url) {
                Some(address) => {
                    known
                        .sockets
                        .extend(url.port_or_known_default().map(|port| SocketAddr::new(address, port)));
                }
                None => known.names.extend(url.host_str().map(plain_name)),
            }
        }
        match service.map(|service| (service, service.parse::<IpAddr>())) {
            Some((_, Ok(address))) => _ = known.addresses.insert(address.to_canonical()),
            Some((name, Err(_))) => _ = known.names.insert(plain_name(name)),
            None => {}
        }
        known.sockets.extend(advertised.iter().filter_map(|one| one.parse::<SocketAddr>().ok()));
        known
    }

    /// Behind a name the port is not looked at.
    fn is(&self, address: IpAddr, port: Option<u16>) -> bool {
        self.addresses.contains(&address) || is_among(&self.sockets, address, port)
    }
}

/// Whoever listed them may have written an IPv4 address as an IPv6 one (`::ffff:10.1.0.5`): it is the same host.
fn is_among(sockets: &BTreeSet<SocketAddr>, address: IpAddr, port: Option<u16>) -> bool {
    let address = address.to_canonical();
    let is =
        |own: &SocketAddr| own.ip().to_canonical() == address && port.is_none_or(|port| port == own.port());
    sockets.iter().any(is)
}

/// What must not be connected to, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    host: String,
    /// What its name resolves to.
    address: Option<IpAddr>,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Metadata,
    LinkLocal,
    Loopback,
    Nowhere,
    ApiServer,
    User,
    NoHttp,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address, why } = self;
        let (what, instead) = match why {
            Why::Metadata => ("where a cloud keeps its machines' metadata", "name a Service or another host"),
            Why::LinkLocal => {
                ("link-local, where clouds keep their machines' metadata", "name a Service or another host")
            }
            Why::Loopback => ("the operator's own machine", "name a Service or another host"),
            Why::Nowhere => ("the address of no single host", "name a Service or another host"),
            Why::ApiServer => ("the API server", "use a config check, or a job check with rights of its own"),
            Why::User => {
                return write!(f, "the address of {host} holds a user: write it without, and nothing secret");
            }
            Why::NoHttp => return write!(f, "{host} is no address of http or https"),
        };
        match address {
            Some(address) => write!(f, "{host} is not asked: its address {address} is {what}; {instead}"),
            None => write!(f, "{host} is not asked: it is {what}; {instead}"),
        }
    }
}

impl std::error::Error for Denied {}

impl Denied {
    /// The refusal at the bottom of a failed request, if it is one.
    pub fn within(error: &reqwest::Error) -> Option<Self> {
        let mut below: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
        while let Some(error) = below {
            if let Some(denied) = error.downcast_ref::<Self>() {
                return Some(denied.clone());
            }
            below = error.source();
        }
        None
    }
}

impl Reach {
    /// Anywhere: for programs that people run on machines of their own.
    pub fn anywhere() -> Self {
        Self(Arc::new(Rules { guarded: None, lookup: system(), wire: None }))
    }

    /// Anywhere but where a Release must not send the operator. `loopback`: also to the operator's own machine.
    pub fn guarded(api: ApiServer, loopback: bool) -> Self {
        let guarded = Guarded { api, replicas: Arc::default(), loopback };
        Self(Arc::new(Rules { guarded: Some(guarded), lookup: system(), wire: None }))
    }

    /// The API server's replicas are there, and no longer where they were told to be before. Holds for every copy.
    pub fn api_server_is_at(&self, replicas: BTreeSet<SocketAddr>) {
        if let Some(guarded) = &self.0.guarded {
            *guarded.replicas.write().unwrap_or_else(PoisonError::into_inner) = replicas;
        }
    }

    /// The same with names resolved otherwise.
    pub fn resolving(self, lookup: Lookup) -> Self {
        Self(Arc::new(Rules { lookup, ..(*self.0).clone() }))
    }

    /// The same with requests of HTTP carried otherwise.
    pub fn over(self, wire: Arc<dyn Wire>) -> Self {
        Self(Arc::new(Rules { wire: Some(wire), ..(*self.0).clone() }))
    }

    /// Whether this may be asked for, as far as can be told before its name is resolved.
    ///
    /// # Errors
    /// What it is, if it may not.
    pub fn allows(&self, url: &Url) -> Result<(), Denied> {
        let Some(guarded) = &self.0.guarded else { return Ok(()) };
        let host = url.host_str().unwrap_or_default();
        let denied = |why| Err(Denied { host: host.to_owned(), address: None, why });
        if !["http", "https"].contains(&url.scheme()) || host.is_empty() {
            return denied(Why::NoHttp);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return denied(Why::User);
        }
        let why = match literal(url) {
            Some(address) => guarded.against(address, url.port_or_known_default()),
            None => guarded.against_name(host),
        };
        why.map_or(Ok(()), denied)
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let found = (self.0.lookup)(host.to_owned()).await?;
        if let Some(guarded) = &self.0.guarded {
            // All of them: which one is connected to is not ours to choose.
            let bad = found.iter().find_map(|address| Some((*address, guarded.against(*address, None)?)));
            if let Some((address, why)) = bad {
                return Err(Box::new(Denied { host: host.to_owned(), address: Some(address), why }));
            }
        }
        if found.is_empty() {
            return Err("the name has no address".into());
        }
        Ok(found)
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// It must not be connected to.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It could not be.
    #[error("no connection to {host}: {problem}")]
    Refused {
        /// Who.
        host: String,
        /// In the words of the layer that failed.
        problem: String,
    },
}

impl Reach {
    /// Connects to a host by name or address, one of its addresses after the other.
    ///
    /// # Errors
    /// When it may not be connected to, or none of its addresses takes the connection.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let refused = |problem: String| ConnectError::Refused { host: host.to_owned(), problem };
        let addresses = match host.parse() {
            Ok(address) => {
                self.allows_socket(SocketAddr::new(address, port))?;
                vec![address]
            }
            Err(_) => {
                if let Some(why) = self.0.guarded.as_ref().and_then(|guarded| guarded.against_name(host)) {
                    return Err(Denied { host: host.to_owned(), address: None, why }.into());
                }
                self.addresses(host).await.map_err(|error| match error.downcast::<Denied>() {
                    Ok(denied) => ConnectError::Denied(*denied),
                    Err(error) => refused(error.to_string()),
                })?
            }
        };
        let mut problem = String::new();
        for address in addresses {
            match TcpStream::connect(SocketAddr::new(address, port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => problem = error.to_string(),
            }
        }
        Err(refused(problem))
    }

    /// A socket that speaks with this address and nobody else.
    ///
    /// # Errors
    /// When it may not be spoken with, or cannot be.
    pub async fn datagrams(&self, to: SocketAddr) -> Result<UdpSocket, ConnectError> {
        self.allows_socket(to)?;
        let own =
            if to.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let connected = async {
            let socket = UdpSocket::bind(SocketAddr::new(own, 0)).await?;
            socket.connect(to).await.map(|()| socket)
        };
        connected.await.map_err(|error: std::io::Error| ConnectError::Refused {
            host: to.to_string(),
            problem: error.to_string(),
        })
    }

    fn allows_socket(&self, to: SocketAddr) -> Result<(), Denied> {
        let why = self.0.guarded.as_ref().and_then(|guarded| guarded.against(to.ip(), Some(to.port())));
        why.map_or(Ok(()), |why| Err(Denied { host: to.ip().to_string(), address: None, why }))
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.guarded.is_some() { "Reach(guarded)" } else { "Reach(anywhere)" })
    }
}

impl Guarded {
    fn against(&self, address: IpAddr, port: Option<u16>) -> Option<Why> {
        // What an address stands for counts, however it is written.
        let inner = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => embedded(address).map(IpAddr::V4),
        };
        [Some(address), inner].into_iter().flatten().find_map(|address| {
            if self.api.is(address, port) || self.is_replica(address, port) {
                return Some(Why::ApiServer);
            }
            kind(address).filter(|why| !(self.loopback && *why == Why::Loopback))
        })
    }

    fn is_replica(&self, address: IpAddr, port: Option<u16>) -> bool {
        is_among(&self.replicas.read().unwrap_or_else(PoisonError::into_inner), address, port)
    }

    fn against_name(&self, name: &str) -> Option<Why> {
        let name = plain_name(name);
        let is_api = API_SERVER_NAMES.contains(&name.as_str())
            || name.starts_with("kubernetes.default.svc.")
            || self.api.names.contains(&name);
        if METADATA_NAMES.contains(&name.as_str()) {
            return Some(Why::Metadata);
        }
        is_api.then_some(Why::ApiServer)
    }
}

/// What is wrong with an address, wherever the operator runs.
fn kind(address: IpAddr) -> Option<Why> {
    if METADATA.contains(&address) {
        return Some(Why::Metadata);
    }
    if address.is_loopback() {
        return Some(Why::Loopback);
    }
    if address.is_unspecified() || address.is_multicast() {
        return Some(Why::Nowhere);
    }
    match address {
        IpAddr::V4(address) if address.is_link_local() => Some(Why::LinkLocal),
        // "This network", and what was kept for a future that has not come, broadcast with it.
        IpAddr::V4(address) if address.octets()[0] == 0 || address.octets()[0] >= 240 => Some(Why::Nowhere),
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(Why::LinkLocal),
        IpAddr::V6(address) if address.segments().starts_with(&AWS) => Some(Why::Metadata),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, translated (NAT64), 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0, 0, 0, 0, 0xffff, 0) => Some(of(g, h)),
        // `::` and `::1` are themselves.
        (0, 0, 0, 0, 0, 0) if (g, h) != (0, 0) && (g, h) != (0, 1) => Some(of(g, h)),
        (0x64, 0xff9b, 0 | 1, ..) => Some(of(g, h)),
        (0x2002, high, low, ..) => Some(of(high, low)),
        _ => None,
    }
}

/// The address that a URL names. The parser has made one way of writing it out of the many (`0x7f.1`, `2130706433`, fullwidth digits).
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn plain_name(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn system() -> Lookup {
    Arc::new(|name: String| {
        Box::pin(
            async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect()) },
        )
    })
}

/// A client that asks where it may, and nowhere else.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    reach: Reach,
}

impl Client {
    /// Follows no redirect (whoever is asked must not send the operator elsewhere) and asks no proxy of the environment.
    ///
    /// # Errors
    /// As [`reqwest::ClientBuilder::build`].
    pub fn new(builder: reqwest::ClientBuilder, reach: &Reach) -> reqwest::Result<Self> {
        let resolver = Checked(reach.clone());
        let http = builder.no_proxy().redirect(Policy::none()).dns_resolver(resolver).build()?;
        Ok(Self { http, reach: reach.clone() })
    }

    /// Begins a GET request.
    ///
    /// # Errors
    /// When it may not be asked for.
    pub fn get(&self, url: Url) -> Result<RequestBuilder, Denied> {
        self.reach.allows(&url)?;
        Ok(self.http.get(url))
    }

    /// Begins a request of any method.
    ///
    /// # Errors
    /// When it may not be asked for.
    pub fn request(&self, method: reqwest::Method, url: Url) -> Result<RequestBuilder, Denied> {
        self.reach.allows(&url)?;
        Ok(self.http.request(method, url))
    }

    /// Begins a POST request.
    ///
    /// # Errors
    /// When it may not be asked for.
    pub fn post(&self, url: Url) -> Result<RequestBuilder, Denied> {
        self.reach.allows(&url)?;
        Ok(self.http.post(url))
    }

    /// Sends one that was begun here, and waits for the head of its answer.
    ///
    /// # Errors
    /// As [`RequestBuilder::send`].
    pub async fn send(&self, request: RequestBuilder) -> reqwest::Result<Response> {
        let request = request.build()?;
        match &self.reach.0.wire {
            Some(wire) => wire.carry(request).await,
            None => self.http.execute(request).await,
        }
    }
}

struct Checked(Reach);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0.clone();
        Box::pin(async move {
            let addresses = reach.addresses(name.as_str()).await?;
            let sockets = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(sockets) as Addrs)
        })
    }
}
