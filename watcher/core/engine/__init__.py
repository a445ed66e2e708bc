"""The pure core: no clock, no input or output, no randomness, no logging. State goes in and comes out.

The map, in reading order: each file uses only what stands above it. A `*` marks the main file of an idea, its parts
stand around it; the marked ones alone are an hour's reading. `docs/architecture.md` walks one reading through them.

Nouns: what everything else speaks of::

    model *         the nouns and the glossary: Reading, Snapshot, Series, Rule, Transition, Message, Delivery
    kinds           a window's kind, its length, how full it is
    phrases         numbers, times and durations as people read them

Language: a person's text becomes rules, or every mistake in it with its place::

    units           units, and the literals that carry them
    vocabulary      the words: providers, windows, fields, template names
    selector        which series a rule means
    tree            the checked condition: prints back to its text; true, false or unknown
    tokens          text to words, each with its place
    parser          words to a tree, by the grammar
    expression *    the grammar, and the one door to the language
    template        a rule's own title and message
    hysteresis      when an alert is over
    places          where in a TOML text each key stands
    redaction       secrets out of text
    diagnostics     what is wrong, where, and what would be valid
    entries         the keys of a rule in TOML
    table           a TOML table, read key by key
    active          `active = "Mon-Fri 09:00-18:00"`, read
    example_tables  `[[rule.example]]`, read
    reader          one `[[rule]]`
    rulebook *      whole files

Engine: news becomes transitions::

    forecast *      rate, projection, time to exhaustion
    memory          what is remembered from one poll to the next
    cycle *         same window, reset, jitter, or a reading not yet to be believed
    attention       was anybody watching? silence is news only then
    households      one account's news, told to each of its series
    view            what each field is worth at this instant
    shelves         rules in the order of their thresholds
    binding         a rule with the series it is about; whether its condition holds
    shortlist       the few of all rules that may have something to do
    hours           is a rule active at this hour?
    holding         how long has the condition held?
    evaluate *      one alert, one observation, one step: the table of phases
    offline         is it the provider that is silent, or this machine?
    dressing        a change becomes a transition that needs no second look
    decisions       why something was said, or was not
    due             when time alone may change what a rule says
    judge *         all of this for one account's news
    history         recorded readings, back into news
    replay          rules against a history
    examples        a rule's own examples, and its explanation
    guard           does a condition hold now?
    course          what a series went through: resets, glitches, what was spent
    spells          from when to when an alert fired
    spark           a course as a line of text

Delivery: transitions become messages on their way::

    facts           what a transition knows beyond its reading
    sentences       the parts of a sentence
    wording *       transition to message, digest, notice
    quiet           quiet hours
    hold            what holds a message back
    backoff         what an attempt's outcome makes of a delivery
    parcels         one row of the outbox
    desk            the outbox while news changes it
    digests         order in it: digests, the notice of an outage
    waiting         what time alone changes in it
    plan *          all of this for one judgement, with a reason for each silence

Polling: when to ask again::

    sight           what is known of a login
    cadence *       when to ask next, and why
    lookout         what the rules make worth looking at
"""
