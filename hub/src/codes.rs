//! The numbers of the client protocol: errors in replies, close codes, unsubscribe codes. SDKs decide by them.

use std::borrow::Cow;

use protocol::DisconnectReason;

/// An error in a reply. The connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorCode {
    pub(crate) code: u32,
    pub(crate) message: &'static str,
    /// The SDK tries again by itself.
    pub(crate) temporary: bool,
}

impl ErrorCode {
    pub(crate) const INTERNAL: Self = Self::temporary(100, "internal server error");
    pub(crate) const UNKNOWN_CHANNEL: Self = Self::lasting(102, "unknown channel");
    pub(crate) const PERMISSION_DENIED: Self = Self::lasting(103, "permission denied");
    pub(crate) const METHOD_NOT_FOUND: Self = Self::lasting(104, "method not found");
    pub(crate) const ALREADY_SUBSCRIBED: Self = Self::lasting(105, "already subscribed");
    pub(crate) const LIMIT_EXCEEDED: Self = Self::lasting(106, "limit exceeded");
    pub(crate) const BAD_REQUEST: Self = Self::lasting(107, "bad request");
    pub(crate) const NOT_AVAILABLE: Self = Self::lasting(108, "not available");
    pub(crate) const TOKEN_EXPIRED: Self = Self::lasting(109, "token expired");
    pub(crate) const UNRECOVERABLE_POSITION: Self = Self::lasting(112, "unrecoverable position");

    const fn temporary(code: u32, message: &'static str) -> Self {
        Self { code, message, temporary: true }
    }

    const fn lasting(code: u32, message: &'static str) -> Self {
        Self { code, message, temporary: false }
    }
}

/// Why a connection ends: the code and reason of the Close frame. 3000–3499 and 4000–4499 let the SDK come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disconnect {
    pub(crate) code: u16,
    pub(crate) reason: Cow<'static, str>,
}

impl Disconnect {
    pub(crate) const PROTOCOL_ERROR: Self = Self::new(1002, "");
    pub(crate) const NOT_TEXT: Self = Self::new(1007, "");
    pub(crate) const TOO_BIG: Self = Self::new(1009, "");
    pub(crate) const SHUTDOWN: Self = Self::new(3001, "shutdown");
    pub(crate) const EXPIRED: Self = Self::new(3005, "connection expired");
    pub(crate) const SUBSCRIPTION_EXPIRED: Self = Self::new(3006, "subscription expired");
    pub(crate) const SLOW: Self = Self::new(3008, "slow");
    pub(crate) const INSUFFICIENT_STATE: Self = Self::new(3010, "insufficient state");
    pub(crate) const NO_PONG: Self = Self::new(3012, "no pong");
    pub(crate) const INVALID_TOKEN: Self = Self::new(3500, "invalid token");
    pub(crate) const BAD_REQUEST: Self = Self::new(3501, "bad request");
    pub(crate) const STALE: Self = Self::new(3502, "stale");
    pub(crate) const FORCED: Self = Self::new(3503, "force disconnect");
    pub(crate) const CONNECTION_LIMIT: Self = Self::new(3504, "connection limit");
    pub(crate) const CHANNEL_LIMIT: Self = Self::new(3505, "channel limit");
    pub(crate) const NOT_AVAILABLE: Self = Self::new(3508, "not available");

    /// For a client that speaks, or asks for, Protobuf.
    pub(crate) const ONLY_JSON: Self =
        Self::new(3508, "this server speaks JSON, not Protobuf: choose an SDK, or its mode, that speaks JSON");

    /// A control frame has at most 125 bytes of payload, two of which are the code.
    const MAX_REASON_BYTES: usize = 123;

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }

    /// What says so over the server API.
    pub(crate) fn into_request(self) -> DisconnectReason {
        DisconnectReason { code: self.code, reason: self.reason.into_owned() }
    }

    /// A close code that came over the server API; `None` when no Close frame can carry it.
    pub(crate) fn from_request(request: DisconnectReason) -> Option<Self> {
        let fits = (3000..5000).contains(&request.code) && request.reason.len() <= Self::MAX_REASON_BYTES;
        fits.then_some(Self { code: request.code, reason: Cow::Owned(request.reason) })
    }
}

/// Why a subscription ends while the connection goes on. From 2500 on the SDK subscribes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsubscribed {
    pub(crate) code: u32,
    pub(crate) reason: &'static str,
}

impl Unsubscribed {
    pub(crate) const BY_SERVER: Self = Self { code: 2000, reason: "server unsubscribe" };
    pub(crate) const INSUFFICIENT_STATE: Self = Self { code: 2500, reason: "insufficient state" };
    pub(crate) const EXPIRED: Self = Self { code: 2501, reason: "subscription expired" };
}
