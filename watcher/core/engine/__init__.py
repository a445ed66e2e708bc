"""The engine: what the result of a poll means for the alerts. Pure: states go in, new states and transitions come out.

Read `evaluator` first: one call evaluates the result of one poll, with the steps below. `docs/architecture.md` follows
one reading through them.

    state             what is kept from one poll to the next
    snapshots         1. apply the result to the states of the account's series
    reset_detection   2. find each reading's episode, and whether to believe it
    metrics           3. compute the value of each field (with windows and forecast)
    matching          4. find the rules it affects, and whether their conditions hold
    staleness         5. distinguish missing readings from sleep and outages; find the next moment to evaluate
    state_machine     6. move each alert
    transitions       7. record transitions and decisions

Built on these:

    replay            rules against a recorded history
    rule_tests        a rule's own examples, and the decisions that explain a rule
    guard             does a condition hold now?
    timeline          the history of a series and of its alerts, for charts and reports
    thresholds        how near a series is to the rules' thresholds, for the choice of the next poll
"""
