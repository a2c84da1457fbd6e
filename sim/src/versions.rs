//! Which versions of HTTP are spoken in a world, and with which settings: by clients, by clusters. All of it comes from
//! a stream of randomness of its own, so that who speaks HTTP/2 changes nothing else about a seed's world.

use weir_core::rng::Rng;

/// What a cluster is told about the version that its hosts speak. Simulated hosts speak whatever comes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// HTTP/1.
    One,
    /// HTTP/2.
    Two,
    /// What the client speaks.
    AsClient,
    /// What ALPN agrees on. Only where TLS is spoken.
    Agreed,
}

/// The versions of one world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// How many clients in a hundred speak HTTP/2.
    pub clients: u64,
    /// What each cluster's hosts are spoken to in.
    pub clusters: Vec<Upstream>,
    /// `initial_stream_window_size`, on both sides.
    pub stream_window: u32,
    /// `initial_connection_window_size`, on both sides.
    pub connection_window: u32,
    /// `max_concurrent_streams` of clients.
    pub streams_of_clients: u32,
    /// `max_concurrent_streams` of connections to hosts.
    pub streams_to_hosts: u32,
}

impl Versions {
    /// HTTP/1 and nothing else.
    pub fn one(clusters: usize) -> Versions {
        Versions {
            clients: 0,
            clusters: vec![Upstream::One; clusters],
            stream_window: 65_535,
            connection_window: 65_535,
            streams_of_clients: 100,
            streams_to_hosts: 100,
        }
    }

    /// Any versions: in a third of the worlds HTTP/1 is all there is.
    pub fn draw(clusters: usize, rng: &mut Rng) -> Versions {
        if rng.below(3) == 0 {
            return Versions::one(clusters);
        }
        let clients = [0, 30, 60, 100][rng.below(4) as usize];
        let kinds = [&[Upstream::One][..], &[Upstream::Two], &[Upstream::One, Upstream::Two, Upstream::AsClient]][rng.below(3) as usize];
        let windows = |rng: &mut Rng| [65_535, 100_000, 1 << 20, 1 << 24][rng.below(4) as usize];
        let streams = |rng: &mut Rng| if rng.below(3) == 0 { 1 + rng.below(10) as u32 } else { 100 };
        Versions {
            clients,
            clusters: (0..clusters).map(|_| kinds[rng.below(kinds.len() as u64) as usize]).collect(),
            stream_window: windows(rng),
            connection_window: windows(rng),
            streams_of_clients: streams(rng),
            streams_to_hosts: streams(rng),
        }
    }

    /// `http2_protocol_options` of the connection manager.
    pub fn of_clients(&self) -> String {
        self.options(self.streams_of_clients, true)
    }

    /// The part of a cluster's `HttpProtocolOptions` that says which version is spoken.
    pub fn of_cluster(&self, cluster: usize) -> String {
        let options = self.options(self.streams_to_hosts, false);
        match self.clusters.get(cluster) {
            None | Some(Upstream::One) => "explicit_http_config: { http_protocol_options: {} }".to_owned(),
            Some(Upstream::Two) => format!("explicit_http_config: {{ http2_protocol_options: {options} }}"),
            Some(Upstream::Agreed) => format!("auto_config: {{ http2_protocol_options: {options} }}"),
            Some(Upstream::AsClient) => format!("use_downstream_protocol_config: {{ http2_protocol_options: {options} }}"),
        }
    }

    fn options(&self, streams: u32, connect: bool) -> String {
        format!(
            "{{ max_concurrent_streams: {streams}, initial_stream_window_size: {}, initial_connection_window_size: {}{} }}",
            self.stream_window,
            self.connection_window,
            if connect { ", allow_connect: true" } else { "" },
        )
    }
}
