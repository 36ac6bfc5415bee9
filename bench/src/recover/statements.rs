//! Which statements were run, how often and by whom, as `pg_stat_statements` counts them.
//!
//! Backend and relay have each a role of their own: that is how their statements are told apart.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// One statement of one role.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Statement {
    /// Who.
    pub(super) role: String,
    /// What, on one line.
    pub(super) text: String,
    /// How often.
    pub(super) calls: i64,
    /// Rows that came back or were written.
    pub(super) rows: i64,
    /// Time in the server, in milliseconds.
    pub(super) milliseconds: f64,
}

const COUNTED: &str = r"
select r.rolname as role, regexp_replace(btrim(s.query), '\s+', ' ', 'g') as text, sum(s.calls)::bigint as calls,
       sum(s.rows)::bigint as rows, sum(s.total_exec_time) as milliseconds
  from pg_stat_statements s join pg_roles r on r.oid = s.userid
 where r.rolname = any($1)
 group by 1, 2 order by 1, 3 desc, 2";

/// The connection that looks.
pub(super) struct Statements(PgConnection);

impl Statements {
    /// Needs the library in `shared_preload_libraries`.
    pub(super) async fn watch(url: &str) -> anyhow::Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql("create extension if not exists pg_stat_statements").execute(&mut connection).await?;
        Ok(Self(connection))
    }

    /// Makes a role, unless an earlier round did, and says how it reaches the database.
    pub(super) async fn role(&mut self, url: &str, name: &str) -> anyhow::Result<String> {
        let known = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)").bind(name);
        let known: bool = known.fetch_one(&mut self.0).await?;
        if !known {
            let made = format!("create role {name} superuser login password '{name}'");
            sqlx::query(AssertSqlSafe(made)).execute(&mut self.0).await?;
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
        let host = rest.split_once('@').map_or(rest, |(_, host)| host);
        Ok(format!("{scheme}://{name}:{name}@{host}"))
    }

    /// Begins to count.
    pub(super) async fn reset(&mut self) -> anyhow::Result<()> {
        sqlx::query("select pg_stat_statements_reset()").execute(&mut self.0).await?;
        Ok(())
    }

    /// What these roles have run since.
    pub(super) async fn counted(&mut self, roles: &[&str]) -> anyhow::Result<Vec<Statement>> {
        let roles: Vec<String> = roles.iter().map(|&role| role.to_owned()).collect();
        Ok(sqlx::query_as(COUNTED).bind(roles).fetch_all(&mut self.0).await?)
    }
}
