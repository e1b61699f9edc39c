"""The store, for what must outlive the process: waiting messages, the journal of calls, agents, and their clients'
hellos.

    calls ───────leave, hold, release──▶ WaitingMessages, CallJournal ──┐
    MCP tools, push ──fetch, peek, acknowledge──▶ WaitingMessages ──────┼──▶ Database ──one thread──▶ SQLite
    web, MCP, command line ──▶ AgentRegistry, ClientHellos ─────────────┘    (group commit)

Several processes may write, and on PostgreSQL they do so at the same time. So whatever reads a row and then changes it
locks it first, and an insert that another process has made meanwhile is no error. SQLite has one lock, which a
transaction that writes takes when it begins (`relay.store.engine`); SQLAlchemy leaves row locks out for it. Rows are
locked in one order: an agent, a call, its messages.

`schema` says what the tables are and `migrations` how they came to be; `engine` opens a database and brings it up to
date; `database` is the one actor through which everything is written. The stores on top of it know their tables and
nothing of each other, except that the journal writes a waiting message for unanswered utterances. `retention`
deletes what need not be kept any longer.
"""
