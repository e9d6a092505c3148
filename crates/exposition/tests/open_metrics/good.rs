//! Bodies that Prometheus takes.

/// A body and what comes out of it.
pub type Case = (&'static str, &'static [&'static str]);

pub const BODIES: &[Case] = &[
    ("# EOF\n", &[]),
    ("# EOF", &[]),
    ("# EOF\n\0\0", &[]),
    (
        "# HELP reqs Requests, \"all\" \\\"of\\\" them.\\n\n# TYPE reqs counter\nreqs_total 5\nreqs_total{code=\"200\"} 4.5\n# EOF\n",
        &[
            r#"help reqs "Requests, \"all\" \"of\" them.\n""#,
            "type reqs Counter",
            r#"name="reqs_total" = 5"#,
            r#"name="reqs_total" code="200" = 4.5"#,
        ],
    ),
    (
        "# TYPE wait_seconds gauge\n# UNIT wait_seconds seconds\n# HELP wait_seconds \nwait_seconds -0.5\n# EOF\n",
        &["type wait_seconds Gauge", r#"unit wait_seconds "seconds""#, r#"help wait_seconds """#, r#"name="wait_seconds" = -0.5"#],
    ),
    // A unit may be empty; HELP after the samples is no error.
    ("# UNIT a \na 1\n# HELP a x\n# EOF\n", &[r#"unit a """#, r#"name="a" = 1"#, r#"help a "x""#]),
    (
        "# TYPE build info\nbuild_info{v=\"1.2\"} 1\n# TYPE door stateset\ndoor{door=\"open\"} 0\ndoor{door=\"shut\"} 1\n# EOF\n",
        &[
            "type build Info",
            r#"name="build_info" v="1.2" = 1"#,
            "type door StateSet",
            r#"name="door" door="open" = 0"#,
            r#"name="door" door="shut" = 1"#,
        ],
    ),
    // The names of buckets and quantiles are rewritten, those of gauge histograms are not.
    (
        "# TYPE h histogram\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 2\n# TYPE g gaugehistogram\ng_bucket{le=\"1\"} 3\n\
         # TYPE s summary\ns{quantile=\"0\"} 4\n# TYPE u unknown\nu{le=\"1\",quantile=\"0\"} 5\n# EOF\n",
        &[
            "type h Histogram",
            r#"name="h_bucket" le="1.0" = 0"#,
            r#"name="h_bucket" le="+Inf" = 2"#,
            "type g GaugeHistogram",
            r#"name="g_bucket" le="1" = 3"#,
            "type s Summary",
            r#"name="s" quantile="0.0" = 4"#,
            "type u Unknown",
            r#"name="u" le="1" quantile="0" = 5"#,
        ],
    ),
    // No rule of the specification about types, suffixes, order or values is enforced.
    (
        "# TYPE c counter\nc -1\nc_bucket{le=\"x\"} NaN\nother 1\nc -1\n# TYPE c gauge\n# TYPE c gauge\nc_info 1\n# EOF\n",
        &[
            "type c Counter",
            r#"name="c" = -1"#,
            r#"name="c_bucket" le="x" = NaN"#,
            r#"name="other" = 1"#,
            r#"name="c" = -1"#,
            "type c Gauge",
            "type c Gauge",
            r#"name="c_info" = 1"#,
        ],
    ),
    (
        "a 1 1520879607.789\na 2 0.0019\na 3 -1.5\na 4 1e3\na -inf 00\n# EOF\n",
        &[
            r#"name="a" = 1 @1520879607789"#,
            r#"name="a" = 2 @1"#,
            r#"name="a" = 3 @-1500"#,
            r#"name="a" = 4 @1000000"#,
            r#"name="a" = -inf @0"#,
        ],
    ),
    // Any sample may have an exemplar. Escapes in its labels stay as they are.
    (
        "a 1 # {} 2\na 1 3 # {x=\"y\"} 4 5.5\n# TYPE g gauge\ng{l=\" # {\"} 1 # {b=\"\\\"\\n\",\"a.b\"=\"}\",} NaN -1\n# EOF\n",
        &[
            r#"name="a" = 1"#,
            r#"name="a" # {} 2"#,
            r#"name="a" = 1 @3000"#,
            r#"name="a" # {x="y"} 4 @5500"#,
            "type g Gauge",
            r#"name="g" l=" # {" = 1"#,
            r#"name="g" l=" # {" # {a.b="}", b="\\\"\\n"} NaN @-1000"#,
        ],
    ),
    // Exemplars that Prometheus would not store are left out, the sample is not.
    (
        "a 1 # {x=\"1\",x=\"2\"} 1\nb 1 # {x=\"1\",x=\"\"} 1\nc 1 # {\"\"=\"1\"} 1\nd 1 # \
         {x=\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"} 1\n\
         # EOF\n",
        &[r#"name="a" = 1"#, r#"name="b" = 1"#, r#"name="b" # {x="1"} 1"#, r#"name="c" = 1"#, r#"name="d" = 1"#],
    ),
    (
        "# HELP \"a.b c\" x\n# TYPE \"a.b c\" gauge\n{\"a.b c\"} 1\n{\"a.b c\",} 2\n{l=\"1\",\"ü\",\"m.n\"=\"2\"} 3 4 # {a=\"b\"} 5\n# EOF\n",
        &[
            r#"help a.b c "x""#,
            "type a.b c Gauge",
            r#"name="a.b c" = 1"#,
            r#"name="a.b c" = 2"#,
            r#"name="ü" l="1" m.n="2" = 3 @4000"#,
            r#"name="ü" l="1" m.n="2" # {a="b"} 5"#,
        ],
    ),
    // Raw newlines are taken in quoted names, also of families and labels.
    ("# TYPE \"a\nb\" counter\n{\"a\nb\",\"c\nd\"=\"e\"} 1\n# EOF\n", &["type a\nb Counter", "name=\"a\\nb\" c\nd=\"e\" = 1"]),
    (
        "a{l=\"\\\\\\\"\\n\\t\",} 1\na{l=\"\"} 2\na{} 3\n# EOF\n",
        &["name=\"a\" l=\"\\\\\\\"\\n\\\\t\" = 1", r#"name="a" l="" = 2"#, r#"name="a" = 3"#],
    ),
    // An empty value takes the label away, however often it is there.
    ("a{l=\"1\",l=\"\"} 1\n# EOF\n", &[r#"name="a" l="" = 1"#]),
    // Prometheus skips NULs in keywords and label values, and behind values and HELP lines.
    (
        "# H\0ELP\0 \0a b\0c\n\0\0a{l=\"x\0\\\0\\y\"\0,m=\"n\"} 1\n# EOF\0\n\0",
        &["help a \"b\\0c\"", "name=\"a\" l=\"x\\0\\\\\\0\\\\y\\\"\" m=\"n\" = 1"],
    ),
];

/// A body and the start times that come out of it with `skip_created`, or samples whose names end with `_created`.
pub const CREATED: &[Case] = &[
    // Behind each series of a metric.
    (
        "# TYPE a counter\na_total{l=\"1\"} 5\na_created{l=\"1\"} 1.5\na_total{l=\"2\"} 6\na_created{l=\"2\"} 2.5\n# EOF\n",
        &[r#"name="a_total" l="1" since 1500"#, r#"name="a_total" l="2" since 2500"#],
    ),
    // Behind all parts of a metric, wherever `le` stands and however it is written.
    (
        "# TYPE h histogram\nh_bucket{le=\"1\",l=\"1\"} 5\nh_bucket{l=\"1\",\"le\"=\"+Inf\"} 5\nh_count{l=\"1\",} 5\nh_created{l=\"1\"} 7\n# EOF\n",
        &[
            r#"name="h_bucket" l="1" le="1.0" since 7000"#,
            r#"name="h_bucket" l="1" le="+Inf" since 7000"#,
            r#"name="h_count" l="1" since 7000"#,
        ],
    ),
    (
        "# TYPE s summary\ns{quantile=\"0.5\"} 5\ns_sum 5\ns_created 7\n# EOF\n",
        &[r#"name="s" quantile="0.5" since 7000"#, r#"name="s_sum" since 7000"#],
    ),
    // In the middle of them: it speaks for those that follow, too.
    (
        "# TYPE s summary\ns_sum 5\ns_created 7\ns_count 5\ns{quantile=\"1\"} 5\ns_x{l=\"1\"} 4\ns_sum 5\n# EOF\n",
        &[r#"name="s_sum" since 7000"#, r#"name="s_count" since 7000"#, r#"name="s" quantile="1.0" since 7000"#],
    ),
    // Before them it speaks for none.
    ("# TYPE a counter\na_created 7\na_total 5\n# EOF\n", &[]),
    // A `_created` line speaks for what stands before the next one only, and only within the family.
    (
        "# TYPE a counter\na_total{l=\"1\"} 1\na_total{l=\"2\"} 2\na_created{l=\"1\"} 7\na_created{l=\"2\"} 8\n# EOF\n",
        &[r#"name="a_total" l="1" since 7000"#],
    ),
    ("# TYPE a counter\na_total 1\n# HELP a x\na_created 7\n# EOF\n", &[]),
    // The order of labels and the length of the family's name decide what belongs together.
    ("# TYPE a counter\na_total{l=\"1\",m=\"2\"} 1\na_created{m=\"2\",l=\"1\"} 7\n# EOF\n", &[]),
    ("# TYPE a counter\nab_total 1\na_created 7\n# EOF\n", &[r#"name="ab_total" since 7000"#]),
    ("# TYPE ab counter\na_total 1\na_created 7\n# EOF\n", &[]),
    ("# TYPE a counter\na{l=\"a\"} 1\na_created{l=\"b\"} 7\n# EOF\n", &[]),
    // Timestamps and exemplars of the line are read and count for nothing; no time is 0.
    ("# TYPE a counter\na 1\na_created 7.0009 5 # {} 1\n# EOF\n", &[r#"name="a" since 7000"#]),
    ("# TYPE a counter\na 1\na_created -7\na_total 1\n# EOF\n", &[r#"name="a" since -7000"#]),
    ("# TYPE a counter\na 1\na_created 0\n# EOF\n", &[]),
    // Quoted names.
    (
        "# TYPE \"a.b\" counter\n{\"a.b_total\"} 1\n{\"a.b_created\"} 7\n{\"a.b_total\",l=\"1\"} 1\n{l=\"1\",\"a.b_created\"} 8\n# EOF\n",
        &[r#"name="a.b_total" since 7000"#, r#"name="a.b_total" l="1" since 8000"#],
    ),
    (
        "# TYPE \"a\" counter\n{\"a_total\",l=\"1\"} 1\na_created{l=\"1\"} 7\na_total{l=\"2\"} 1\n{\"a_created\",\"l\"=\"2\",} 8\n# EOF\n",
        &[r#"name="a_total" l="1" since 7000"#, r#"name="a_total" l="2" since 8000"#],
    ),
    (
        "# TYPE \"a\" counter\na_total{\"l\"=\"1\"} 1\n{\"a_created\",l=\"1\"} 7\n{\"a_total\",l=\"2\"} 1\na_created{\"l\"=\"2\"} 8\n# EOF\n",
        &[r#"name="a_total" l="1" since 7000"#, r#"name="a_total" l="2" since 8000"#],
    ),
    // It speaks for those that follow only if it did for the one before it.
    ("# TYPE a counter\na{l=\"1\"} 1\na{l=\"2\"} 1\na_created{l=\"1\"} 7\na_total{l=\"1\"} 1\n# EOF\n", &[r#"name="a" l="1" since 7000"#]),
    // Other types have no start times: the line is a sample like others.
    (
        "# TYPE a gauge\na 1\na_created 7\n# TYPE b unknown\nb_created 8\n# TYPE c counter\nc_created_at 9\n# EOF\n",
        &[r#"name="a_created" = 7"#, r#"name="b_created" = 8"#, r#"name="c_created_at" = 9"#],
    ),
    // A sample of another type in between ends what a `_created` line speaks for.
    ("# TYPE a counter\na 1\na_created 7\n# TYPE a gauge\na 1\n# TYPE a counter\na 1\n# EOF\n", &[r#"name="a" since 7000"#]),
    ("# TYPE a counter\na 1\na_created 7\n# TYPE a counter\na 1\n# EOF\n", &[r#"name="a" since 7000"#, r#"name="a" since 7000"#]),
];
