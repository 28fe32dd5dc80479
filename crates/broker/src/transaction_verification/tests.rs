use std::future::ready;

use parking_lot::Mutex;
use vltava_log::TransactionStart;

use super::*;
use crate::partition::testing::{partition, transactional};

/// What was asked: the partitions, and whether only to verify them.
type Asked = (Vec<(String, i32)>, bool);

/// Gives one answer for everything, and remembers what it was asked.
#[derive(Debug)]
struct Scripted(Result<(), ErrorCode>, Mutex<Vec<Asked>>);

impl Scripted {
    fn new(answer: Result<(), ErrorCode>) -> Self {
        Self(answer, Mutex::default())
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.1.lock())
    }
}

impl TransactionVerifier for Scripted {
    fn add_or_verify<'a>(&'a self, request: AddOrVerify<'a>) -> Answers<'a> {
        assert_eq!((request.transactional_id, request.producer_id), ("id", 7));
        let partitions = request.partitions.iter().map(|(topic, index)| ((*topic).to_owned(), *index)).collect();
        self.1.lock().push((partitions, request.verify_only));
        Box::pin(ready(vec![self.0; request.partitions.len()]))
    }
}

fn ask_for(
    verifier: &Scripted,
    partitions: &[&Partition],
    support: TransactionSupport,
) -> Vec<Result<VerificationGuard, ErrorCode>> {
    let producer = TransactionalProducer { transactional_id: "id", producer_id: 7, producer_epoch: 0, support };
    let targets: Vec<_> = partitions.iter().map(|&partition| Target { partition, base_sequence: 0 }).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(ask(verifier, producer, &targets, 1_000))
}

#[test]
fn only_partitions_that_do_not_know_the_transaction_are_asked_for() {
    let (_dirs, partitions): (Vec<_>, Vec<_>) = [partition(), partition(), partition()].into_iter().unzip();
    let all: Vec<_> = partitions.iter().collect();
    let verifier = Scripted::new(Ok(()));
    let guards = ask_for(&verifier, &all[..1], TransactionSupport::DefaultError);
    partitions[0].append_from_client(&transactional(0, 0), guards[0].unwrap(), 1_000).unwrap();
    assert_eq!(verifier.asked(), [(vec![("t".to_owned(), 0)], true)]);
    // The third has heard of a newer producer of that id.
    let newer = TransactionStart { producer_id: 7, producer_epoch: 1, base_sequence: 0, supports_epoch_bump: false };
    let guard = partitions[2].start_verification(&newer, 1_000).unwrap();
    partitions[2].append_from_client(&transactional(1, 0), guard, 1_000).unwrap();
    let answers = ask_for(&verifier, &all, TransactionSupport::AddPartition);
    assert_eq!(answers[0], Ok(VerificationGuard::SENTINEL));
    assert_eq!(answers[2], Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(verifier.asked(), [(vec![("t".to_owned(), 0)], false)]);
    partitions[1].append_from_client(&transactional(0, 0), answers[1].unwrap(), 1_000).unwrap();
    // Nothing is left to be asked.
    assert_eq!(ask_for(&verifier, &all[..2], TransactionSupport::AddPartition), [Ok(VerificationGuard::SENTINEL); 2]);
    assert_eq!(verifier.asked(), []);
}

#[test]
fn a_client_is_told_what_its_version_understands() {
    use TransactionSupport::{AddPartition, DefaultError, GenericErrorSupported};
    let cases = [
        (ErrorCode::ProducerFenced, DefaultError, ErrorCode::InvalidProducerEpoch),
        (ErrorCode::ProducerFenced, AddPartition, ErrorCode::InvalidProducerEpoch),
        (ErrorCode::TransactionAbortable, DefaultError, ErrorCode::InvalidTxnState),
        (ErrorCode::TransactionAbortable, GenericErrorSupported, ErrorCode::TransactionAbortable),
        (ErrorCode::TransactionAbortable, AddPartition, ErrorCode::TransactionAbortable),
        (ErrorCode::InvalidProducerIdMapping, DefaultError, ErrorCode::InvalidProducerIdMapping),
    ];
    for (said, support, told) in cases {
        let (_dir, partition) = partition();
        let answers = ask_for(&Scripted::new(Err(said)), &[&partition], support);
        assert_eq!(answers, [Err(told)], "{said:?} {support:?}");
        let refused = partition.append_from_client(&transactional(0, 0), VerificationGuard::SENTINEL, 1_000);
        assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidTxnState);
    }
    let of_versions =
        [(3, DefaultError), (10, DefaultError), (11, GenericErrorSupported), (12, AddPartition), (13, AddPartition)];
    for (version, support) in of_versions {
        assert_eq!(TransactionSupport::of_produce(version), support, "version {version}");
    }
}
