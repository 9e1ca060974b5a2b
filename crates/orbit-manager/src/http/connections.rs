//! Connections of users: how many, and for how long without a request.
//!
//! A connection that says nothing, half a head or half a body holds a descriptor, and enough of them would keep
//! everybody else out: other users, workers, the log. So a head has to come in time, a body has to come in time (see
//! `extract`), and there are bounds for each peer and for all. At a bound the connection that has waited longest
//! without a request makes room; where every one is at work the new one is refused. A request that is under way is
//! never cut by these bounds: a watch, a followed log and a WebSocket last as long as their reader. But a reader that
//! takes nothing of what is written to it for minutes has gone, and its connection with it.

use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    io,
    net::IpAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    time::{Instant, Sleep, sleep},
};
use tower::ServiceExt;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// So many connections at the same time.
    pub connections_max: usize,
    /// So many of one peer.
    pub of_a_peer_max: usize,
    /// A request's head has to come within this time from when the connection is free for it. So it is also how
    /// long a connection is kept between two requests.
    pub head_max: Duration,
    /// A peer that takes no byte of its answer for so long is cut. One that is only slow never is, nor is one to which
    /// nothing is written.
    pub stall_max: Duration,
}

/// Enough for every user that a manager has; an idle connection takes about 20 KiB.
const CONNECTIONS_MAX: usize = 1024;
/// What the log, the engine's files and the like need, whatever else is open.
const DESCRIPTORS_RESERVED: usize = 64;
/// Longer than a person looks at one page of a log that goes on behind it.
const STALL_MAX: Duration = Duration::from_secs(600);
/// Between two attempts to accept where the process has no descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// A bound that is hit again and again is logged once in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);

impl Limits {
    /// Those of this process: at most half of its descriptors are for users, so that workers find the other half.
    /// Unlimited descriptors are as good as very many.
    pub fn of_this_process() -> Limits {
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Limits::with_descriptors(descriptors.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)))
    }

    fn with_descriptors(descriptors: usize) -> Limits {
        let connections_max = (descriptors.saturating_sub(DESCRIPTORS_RESERVED) / 2).clamp(16, CONNECTIONS_MAX);
        // A single peer, which may be all local users together, leaves room for others.
        Limits {
            connections_max,
            of_a_peer_max: connections_max * 3 / 4,
            head_max: Duration::from_secs(20),
            stall_max: STALL_MAX,
        }
    }
}

/// Who is at the other end. An IPv6 peer has a whole network of addresses to itself.
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            IpAddr::from(octets)
        }
        address => address,
    }
}

/// Every open connection, in the order in which they came.
struct Table {
    limits: Limits,
    open: Mutex<BTreeMap<u64, Entry>>,
    logged: Mutex<Option<Instant>>,
}

struct Entry {
    peer: IpAddr,
    /// Requests that are under way; a connection that became a WebSocket has one for ever.
    at_work: usize,
    /// Since when it has had none.
    waits_since: Instant,
    evicted: Arc<Notify>,
}

impl Table {
    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        // Every change is whole before a panic could come.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in; nothing where there is no room for it.
    fn admit(self: &Arc<Table>, id: u64, peer: IpAddr) -> Option<Admitted> {
        let mut open = self.open();
        let of_peer = open.values().filter(|entry| entry.peer == peer).count();
        let (over, bound) = match of_peer >= self.limits.of_a_peer_max {
            true => (Some(Some(peer)), self.limits.of_a_peer_max),
            false if open.len() >= self.limits.connections_max => (Some(None), self.limits.connections_max),
            false => (None, 0),
        };
        if let Some(of) = over {
            let made_room = evict(&mut open, of);
            self.log(peer, of.is_some(), bound, made_room);
            if !made_room {
                return None;
            }
        }
        let evicted = Arc::new(Notify::new());
        open.insert(id, Entry { peer, at_work: 0, waits_since: Instant::now(), evicted: evicted.clone() });
        Some(Admitted { table: self.clone(), id, evicted })
    }

    fn log(&self, peer: IpAddr, of_peer: bool, bound: usize, made_room: bool) {
        let of = if of_peer { format!("from {peer}") } else { "of users".to_string() };
        let done = if made_room { "those that wait longest for a request are closed" } else { "new ones are refused" };
        self.warn(&format!("{bound} connections {of} are open, the most that there may be: {done}"));
    }

    /// Once in a while.
    fn warn(&self, text: &str) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return;
        }
        *logged = Some(Instant::now());
        tracing::warn!("{text}");
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        // One that was evicted is not there any more.
        if let Some(entry) = self.open().get_mut(&id) {
            change(entry);
        }
    }
}

/// Ends the connection that has waited longest without a request; false where all are at work.
fn evict(open: &mut BTreeMap<u64, Entry>, of: Option<IpAddr>) -> bool {
    let waits = |entry: &Entry| entry.at_work == 0 && of.is_none_or(|peer| peer == entry.peer);
    let oldest = open.iter().filter(|(_, entry)| waits(entry)).min_by_key(|(id, entry)| (entry.waits_since, **id));
    let Some(id) = oldest.map(|(id, _)| *id) else { return false };
    let entry = open.remove(&id).expect("just found");
    entry.evicted.notify_one();
    true
}

/// A connection's place in the table. It goes with the socket, also where that became a WebSocket.
struct Admitted {
    table: Arc<Table>,
    id: u64,
    evicted: Arc<Notify>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.table.open().remove(&self.id);
    }
}

/// A request under way: from its head until its answer was written whole, or given up.
struct AtWork {
    table: Option<Arc<Table>>,
    id: u64,
}

impl AtWork {
    fn new(table: Arc<Table>, id: u64) -> AtWork {
        table.change(id, |entry| entry.at_work += 1);
        AtWork { table: Some(table), id }
    }

    /// It is never over: the connection became a WebSocket, and gives its place back with its socket.
    fn stays(mut self) {
        self.table = None;
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(table) = &self.table {
            table.change(self.id, |entry| {
                entry.at_work -= 1;
                entry.waits_since = Instant::now();
            });
        }
    }
}

/// A socket that holds its place for as long as it is open, and is cut when its peer stops reading.
struct Socket {
    stream: TcpStream,
    _place: Admitted,
    stall_max: Duration,
    /// Runs while the peer takes nothing of what is to be written.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// What came of an attempt to write: an error where none has for too long.
    fn written<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall_max = self.stall_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall_max)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, written)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, written)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// An answer's body that is under way for as long as it lives.
struct Tracked {
    body: Body,
    _at_work: AtWork,
}

impl hyper::body::Body for Tracked {
    type Data = bytes::Bytes;
    type Error = axum::Error;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// Accepts until `closed` is ready, and then waits for the answers that are under way.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits, closed: impl Future<Output = ()>) {
    let table = Arc::new(Table { limits, open: Mutex::default(), logged: Mutex::default() });
    // Connections hold a receiver each: they see the end coming, and are waited for.
    let (end, ending) = watch::channel(());
    let mut closed = pin!(closed);
    let mut accepted = 0;
    loop {
        let (stream, address) = tokio::select! { biased;
            () = &mut closed => break,
            taken = listener.accept() => match taken {
                Ok(taken) => taken,
                Err(error) => {
                    // The peer may have gone by now; otherwise descriptors are short, and somebody's is needed.
                    if error.raw_os_error().is_some_and(is_shortage) {
                        table.warn(&format!("no connection can be accepted ({error}): those that wait longest are closed"));
                        evict(&mut table.open(), None);
                        sleep(ACCEPT_AGAIN).await;
                    }
                    continue;
                }
            },
        };
        accepted += 1;
        let Some(place) = table.admit(accepted, peer(address.ip())) else { continue };
        let _ = stream.set_nodelay(true);
        let socket = Socket { stream, _place: place, stall_max: limits.stall_max, stalled: None };
        tokio::spawn(connection(socket, router.clone(), limits, ending.clone()));
    }
    drop((listener, ending));
    let _ = end.send(());
    end.closed().await;
}

/// No descriptors or no memory for another connection.
fn is_shortage(code: i32) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].iter().any(|errno| errno.raw_os_error() == code)
}

/// Lives as long as the connection, or until it becomes a WebSocket.
async fn connection(socket: Socket, router: Router, limits: Limits, mut ending: watch::Receiver<()>) {
    let Admitted { table, id, evicted } = &socket._place;
    let (table, id, evicted) = (table.clone(), *id, evicted.clone());
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (router, at_work) = (router.clone(), AtWork::new(table.clone(), id));
        async move { Ok::<_, Infallible>(answer(router, request, at_work).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_max)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut served = pin!(served);
    let mut ends = false;
    loop {
        tokio::select! { biased;
            // What a client does wrong is its own affair.
            _ = served.as_mut() => return,
            () = evicted.notified() => return,
            _ = ending.changed(), if !ends => {
                ends = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(router: Router, request: hyper::Request<Incoming>, at_work: AtWork) -> Response {
    let request: Request = request.map(Body::new);
    let Ok(response) = router.oneshot(request).await;
    if response.status() == hyper::StatusCode::SWITCHING_PROTOCOLS {
        at_work.stays();
        return response;
    }
    response.map(|body| Body::new(Tracked { body, _at_work: at_work }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(connections_max: usize, of_a_peer_max: usize) -> Arc<Table> {
        let limits = Limits { connections_max, of_a_peer_max, head_max: Duration::MAX, stall_max: STALL_MAX };
        Arc::new(Table { limits, open: Mutex::default(), logged: Mutex::default() })
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[tokio::test]
    async fn the_longest_wait_makes_room_and_work_is_never_cut() {
        let table = table(3, 3);
        let places: Vec<_> = (1..=3).map(|id| table.admit(id, address(id as u8)).expect("room")).collect();
        let work = AtWork::new(table.clone(), 1);
        let fourth = table.admit(4, address(4)).expect("the second makes room");
        places[1].evicted.notified().await;
        let _works: Vec<_> = [3, 4].map(|id| AtWork::new(table.clone(), id)).into();
        assert!(table.admit(5, address(5)).is_none(), "all are at work");
        drop(work);
        let fifth = table.admit(5, address(5)).expect("the first waits by now");
        places[0].evicted.notified().await;
        drop((places, fourth, fifth));
        assert!(table.open().is_empty(), "every place is given back");
    }

    #[test]
    fn a_peer_takes_its_own_room_only() {
        let table = table(8, 2);
        let _other = table.admit(1, address(1)).expect("room");
        let _places: Vec<_> = (2..=6).map(|id| table.admit(id, address(2)).expect("its oldest makes room")).collect();
        assert_eq!(table.open().keys().copied().collect::<Vec<_>>(), [1, 5, 6]);
        assert_eq!(peer("2001:db8::1".parse().unwrap()), peer("2001:db8::2".parse().unwrap()));
        assert_eq!(peer("::ffff:10.0.0.1".parse().unwrap()), address(1));
    }

    #[test]
    fn workers_find_descriptors_whatever_users_do() {
        for descriptors in [0, 64, 256, 1024, 20_000, usize::MAX] {
            let limits = Limits::with_descriptors(descriptors);
            assert!(limits.of_a_peer_max < limits.connections_max && limits.connections_max <= CONNECTIONS_MAX);
            assert!(limits.connections_max <= 16.max(descriptors / 2), "{descriptors}");
        }
    }
}
