//! relay → backend: events of a topic applied to the room list.

use async_trait::async_trait;
use backend::read_model::{self, Applied, PayloadError, Record};
use relay::events::{Event, EventSink, EventVerdict, SinkError};
use sqlx::PgPool;

/// The read model in this database.
pub struct RoomList(pub PgPool);

#[async_trait]
impl EventSink for RoomList {
    async fn apply(&self, events: &[Event]) -> Result<Vec<EventVerdict>, SinkError> {
        match self.together(events).await {
            Ok(verdicts) => Ok(verdicts),
            Err(error) if is_the_events_fault(&error) => self.one_by_one(events).await.map_err(SinkError::new),
            Err(error) => Err(SinkError::new(error)),
        }
    }
}

impl RoomList {
    async fn together(&self, events: &[Event]) -> sqlx::Result<Vec<EventVerdict>> {
        let records: Vec<_> = events.iter().map(record).collect();
        let readable: Vec<_> = records.iter().filter_map(|record| record.as_ref().ok().copied()).collect();
        let mut applied = read_model::apply(&self.0, &readable).await?.into_iter();
        let verdict = |record: Result<Record<'_>, String>| match record {
            Ok(_) => applied.next().map_or_else(|| poison("it was not answered"), |applied| verdict(&applied)),
            Err(reason) => poison(reason),
        };
        Ok(records.into_iter().map(verdict).collect())
    }

    /// PostgreSQL refuses something in one of them, and does not say which.
    async fn one_by_one(&self, events: &[Event]) -> sqlx::Result<Vec<EventVerdict>> {
        let mut verdicts = Vec::with_capacity(events.len());
        for event in events {
            match self.together(std::slice::from_ref(event)).await {
                Ok(verdict) => verdicts.extend(verdict),
                Err(error) if is_the_events_fault(&error) => verdicts.push(poison(error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(verdicts)
    }
}

fn record(event: &Event) -> Result<Record<'_>, String> {
    let event_id = event.id.parse().map_err(|error| format!("its header \"id\" is no UUID: {error}"))?;
    Ok(Record { event_id, event_type: &event.event_type, payload: &event.payload })
}

fn verdict(applied: &Result<Applied, PayloadError>) -> EventVerdict {
    match applied {
        Ok(Applied::Newest) => EventVerdict::Done("newest"),
        Ok(Applied::Older) => EventVerdict::Done("older"),
        Ok(Applied::Repeat) => EventVerdict::Done("repeat"),
        Ok(Applied::Ignored) => EventVerdict::Done("ignored"),
        Err(error) => poison(error.to_string()),
    }
}

fn poison(reason: impl Into<String>) -> EventVerdict {
    EventVerdict::Poison { reason: reason.into() }
}

/// A value that no column takes, such as a text with a NUL: the same at every try.
fn is_the_events_fault(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}
