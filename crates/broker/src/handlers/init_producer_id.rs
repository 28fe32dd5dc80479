//! InitProducerId (22), versions 0–5.
//!
//! Gives an idempotent producer an id of its own, with epoch 0. Ids are taken from blocks of 1000
//! that are recorded in the metadata log before the first of them is given, so that none is given
//! twice over a restart. Transactions are not served yet: a transactional id is refused with
//! `UNSUPPORTED_VERSION`, which ends a transactional producer at once instead of letting it wait.
//!
//! Versions: 2 flexible · 3 own id and epoch (KIP-360) · 4 fencing (KIP-588) · 5 KIP-890.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::controller::producer_ids::ProducerIds;
use crate::request::RequestContext;

pub(crate) async fn handle(
    producer_ids: &ProducerIds,
    _: &RequestContext,
    request: &InitProducerIdRequest,
) -> InitProducerIdResponse {
    let given = match request.transactional_id.as_deref() {
        None => producer_ids.next().await,
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(_) => Err(ErrorCode::UnsupportedVersion),
    };
    let mut response = InitProducerIdResponse { producer_epoch: -1, ..InitProducerIdResponse::default() };
    match given {
        Ok(producer_id) => {
            response.producer_id = producer_id;
            response.producer_epoch = 0;
        }
        Err(error) => response.error_code = error.code(),
    }
    response
}
