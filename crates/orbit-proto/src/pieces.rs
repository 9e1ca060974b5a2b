//! What a worker says, in messages of bounded size: long lists of reports are cut into pieces, and the pieces of an
//! inventory are put together again before anybody sees the hello.

use crate::{DecodeError, bounds::*, error::*, v1, wire::reports};
use orbit_core::model::*;
use prost::Message;

/// What a worker says as it goes over the wire: each message within [`FROM_WORKER_BYTES_MAX`], in this order.
pub fn to_manager(message: &ToManager) -> Vec<v1::ToManager> {
    use v1::to_manager::Message as P;
    let of = |message| v1::ToManager { message: Some(message) };
    match message {
        ToManager::Report { seq, reports } => {
            pieces(reports).map(|reports| of(P::Report(v1::Report { reports, seq: *seq }))).collect()
        }
        ToManager::Register(hello) => {
            let mut rest = pieces(&hello.inventory).peekable();
            let first = v1::Hello { inventory: rest.next().unwrap_or_default(), ..(&hello.without_inventory()).into() };
            let mut messages = vec![of(P::Register(v1::Hello { more: rest.peek().is_some(), ..first }))];
            while let Some(reports) = rest.next() {
                messages.push(of(P::Inventory(v1::Inventory { reports, more: rest.peek().is_some() })));
            }
            messages
        }
        ToManager::Heartbeat { .. } | ToManager::ProbeAck | ToManager::Prefetched { .. } => vec![message.into()],
    }
}

/// Reports in pieces of which each fits into a message; none for none.
fn pieces(reports: &[TaskReport]) -> impl Iterator<Item = Vec<v1::TaskReport>> + '_ {
    let mut rest = reports.iter().map(v1::TaskReport::from).peekable();
    std::iter::from_fn(move || {
        let (mut piece, mut bytes) = (Vec::new(), 0);
        while piece.len() < REPORTS_MAX
            && bytes < PIECE_BYTES
            && let Some(report) = rest.next()
        {
            bytes += report.encoded_len();
            piece.push(report);
        }
        (!piece.is_empty()).then_some(piece)
    })
}

/// The manager's end of one session: puts together what comes in pieces.
///
/// A hello is held back until its inventory is whole. What is held is bounded: by [`INVENTORY_MAX`] reports and
/// [`INVENTORY_BYTES_MAX`] bytes.
#[derive(Debug, Default)]
pub struct FromWorker {
    /// A hello whose inventory is not whole, and how many bytes of it there are.
    hello: Option<(Hello, usize)>,
}

impl FromWorker {
    /// Takes the next message; gives what it says, unless that is not whole yet.
    ///
    /// # Errors
    /// When it is no message that an honest worker sends. The session is to be ended.
    pub fn take(&mut self, message: v1::ToManager) -> std::result::Result<Option<ToManager>, DecodeError> {
        use v1::to_manager::Message as P;
        let bytes = message.encoded_len();
        match (message.message, self.hello.take()) {
            (Some(P::Register(mut hello)), None) => {
                let more = std::mem::take(&mut hello.more);
                let hello: Hello = hello.try_into().within("register")?;
                if !more {
                    return Ok(Some(ToManager::Register(hello)));
                }
                self.hello = Some((hello, bytes));
                Ok(None)
            }
            (Some(P::Inventory(piece)), Some((mut hello, before))) => {
                let (more, bytes) = (piece.more, before + bytes);
                let piece = reports("reports", piece.reports).within("inventory")?;
                let in_order = hello.inventory.last().zip(piece.first()).is_none_or(|(a, b)| a.task <= b.task);
                if !in_order {
                    return Err(DecodeError::new("is out of order")).within("inventory.reports[0]");
                }
                if hello.inventory.len() + piece.len() > INVENTORY_MAX || bytes > INVENTORY_BYTES_MAX {
                    return Err(DecodeError::new("is too long")).within("inventory");
                }
                hello.inventory.extend(piece);
                if !more {
                    return Ok(Some(ToManager::Register(hello)));
                }
                self.hello = Some((hello, bytes));
                Ok(None)
            }
            (Some(P::Inventory(_)), None) => Err(DecodeError::new("continues nothing")).within("inventory"),
            (_, Some(_)) => Err(DecodeError::new("is not whole")).within("register.inventory"),
            (message, None) => v1::ToManager { message }.try_into().map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn report(index: u64, words: usize) -> TaskReport {
        let end = End::new(Reason::Exited, "x".repeat(words));
        TaskReport::new(TaskId { epoch: 1, index, ordinal: 0 }, TaskState::Failed, Some(end))
    }

    fn hello(inventory: Vec<TaskReport>) -> Hello {
        let label = |i: usize| (format!("{i:0>60}"), "v".repeat(limits::LABELS_BYTES_MAX / limits::ITEMS_MAX - 60));
        Hello {
            cluster: Some(ClusterId(1)),
            seen: (1, 1),
            nonce: 2,
            info: NodeInfo {
                labels: (0..limits::ITEMS_MAX).map(label).collect::<BTreeMap<_, _>>(),
                port_range: (20_000, 29_999),
                ..orbit_core::testing::node(NodeUid(3), "n")
            },
            inventory,
            takes_parts: true,
            prefetches: true,
        }
    }

    fn over_the_wire(message: &ToManager) -> Vec<ToManager> {
        let (mut whole, mut session) = (Vec::new(), FromWorker::default());
        for piece in to_manager(message) {
            let bytes = piece.encode_to_vec();
            assert!(bytes.len() <= FROM_WORKER_BYTES_MAX, "{} bytes", bytes.len());
            whole.extend(session.take(v1::ToManager::decode(&bytes[..]).unwrap()).unwrap());
        }
        whole
    }

    #[test]
    fn a_large_inventory_comes_in_pieces_and_is_whole_again() {
        for (count, words) in [(0, 0), (1, 0), (REPORTS_MAX, 0), (REPORTS_MAX + 1, 0), (20_000, End::MESSAGE_BYTES_MAX)]
        {
            let inventory: Vec<TaskReport> = (0..count as u64).map(|index| report(index, words)).collect();
            let message = ToManager::Register(hello(inventory.clone()));
            assert_eq!(over_the_wire(&message), [message]);
            // Reports need not be put together: each message says something by itself.
            let heard = over_the_wire(&ToManager::Report { seq: 7, reports: inventory.clone() });
            let heard = heard.into_iter().flat_map(|message| match message {
                ToManager::Report { seq: 7, reports } => reports,
                other => panic!("{other:?}"),
            });
            assert_eq!(heard.collect::<Vec<_>>(), inventory);
        }
    }

    #[test]
    fn what_is_held_of_an_inventory_is_bounded() {
        let of = |message| v1::ToManager { message: Some(message) };
        use v1::to_manager::Message as P;
        let refused = |count: u64, words: usize| {
            let mut session = FromWorker::default();
            let first = v1::Hello { more: true, ..(&hello(vec![])).into() };
            assert_eq!(session.take(of(P::Register(first))), Ok(None));
            (0u64..).find_map(|n| {
                let reports = (n * count..(n + 1) * count).map(|i| (&report(i, words)).into()).collect();
                session
                    .take(of(P::Inventory(v1::Inventory { reports, more: true })))
                    .err()
                    .map(|error| (n * count, error))
            })
        };
        let (held, error) = refused(1000, 0).unwrap();
        assert_eq!((error.to_string().as_str(), held <= INVENTORY_MAX as u64), ("inventory: is too long", true));
        let (held, _) = refused(100, End::MESSAGE_BYTES_MAX).unwrap();
        assert!(held < INVENTORY_MAX as u64, "bytes count as well: {held}");
    }

    #[test]
    fn pieces_without_their_hello_and_anything_between_them_are_refused() {
        let of = |message| v1::ToManager { message: Some(message) };
        use v1::to_manager::Message as P;
        let piece = |index: u64| P::Inventory(v1::Inventory { reports: vec![(&report(index, 0)).into()], more: true });
        let first = || P::Register(v1::Hello { more: true, ..(&hello(vec![report(5, 0)])).into() });
        let refusal = |messages: Vec<P>| {
            let mut session = FromWorker::default();
            messages.into_iter().find_map(|message| session.take(of(message)).err()).expect("it is refused").to_string()
        };
        assert_eq!(refusal(vec![piece(1)]), "inventory: continues nothing");
        assert_eq!(refusal(vec![first(), piece(4)]), "inventory.reports[0]: is out of order");
        assert_eq!(refusal(vec![first(), first()]), "register.inventory: is not whole");
        assert_eq!(refusal(vec![first(), P::ProbeAck(v1::ProbeAck {})]), "register.inventory: is not whole");
    }

    #[test]
    fn what_fits_into_a_message_is_small_when_it_is_decoded() {
        // The smallest entry of a list takes two bytes on the wire.
        let decoded = FROM_WORKER_BYTES_MAX / 2 * size_of::<v1::TaskReport>().max(size_of::<v1::KeyValue>());
        assert!(decoded <= 32 << 20, "{decoded} bytes");
        let many = v1::Report { reports: vec![v1::TaskReport::default(); REPORTS_MAX + 1], seq: 1 };
        let error = ToManager::try_from(v1::ToManager { message: Some(v1::to_manager::Message::Report(many)) });
        assert_eq!(error.unwrap_err().to_string(), "report.reports: has more than 4096 entries");
        let labels = vec![v1::KeyValue::default(); limits::ITEMS_MAX + 1];
        let mut many: v1::Hello = (&hello(vec![])).into();
        many.info.as_mut().unwrap().labels = labels;
        let error = ToManager::try_from(v1::ToManager { message: Some(v1::to_manager::Message::Register(many)) });
        assert_eq!(error.unwrap_err().to_string(), "register.info.labels: has more than 256 entries");
    }
}
