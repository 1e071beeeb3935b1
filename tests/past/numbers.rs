//! What queries of somebody's gave, and gauges of pods: now, or over a stretch of time as a subquery.

use super::Past;

/// A query, and what it gave.
#[derive(Clone)]
pub struct Number {
    pub query: &'static str,
    pub is_scalar: bool,
    /// Each with the value of its label `country`, if it has one.
    pub series: Vec<(&'static str, Curve)>,
}

/// What it was at a moment, if it was anything.
pub type Curve = fn(i64) -> Option<f64>;

/// A gauge by its name, and what it was on a pod.
pub type Gauge = (&'static str, fn(&str, i64) -> f64);

/// `(QUERY)[3600s:5s]`, or the query alone.
struct Asked<'a> {
    query: &'a str,
    is_made_vector: bool,
    /// Seconds of the stretch and of a step.
    over: Option<(i64, i64)>,
}

impl<'a> Asked<'a> {
    fn of(query: &'a str) -> Self {
        let over = query.strip_suffix("s]").and_then(|query| query.rsplit_once('['));
        let over = over.and_then(|(query, over)| Some((query, over.split_once("s:")?)));
        let Some((query, (range, step))) = over else {
            return Self { query, is_made_vector: false, over: None };
        };
        let query = query.strip_suffix(')').expect("in parentheses").trim_end_matches('\n');
        let made = query.strip_prefix("vector(");
        Self {
            query: made.or_else(|| query.strip_prefix('(')).expect("in parentheses"),
            is_made_vector: made.is_some(),
            over: Some((range.parse().expect("a range"), step.parse().expect("a step"))),
        }
    }
}

fn success(kind: &str, result: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#)
}

fn refused(why: &str) -> String {
    format!(r#"{{"status":"error","errorType":"bad_data","error":"{why}"}}"#)
}

impl Past {
    /// The answer to what is a number or a gauge.
    pub(super) fn number(&self, query: &str, time: i64) -> Option<String> {
        let Asked { query, is_made_vector, over } = Asked::of(query);
        let known = self.numbers.iter().find(|number| number.query == query);
        let Some((range, step)) = over else { return known.map(|number| number.now(time)) };
        if range > self.longest {
            return Some(refused("query processing would load too many samples"));
        }
        if known.is_some_and(|number| number.is_scalar && !is_made_vector) {
            return Some(refused("subquery is only allowed on instant vector, got scalar instead"));
        }
        // As older versions have it: with the beginning.
        let moments = (time - range..=time).filter(|at| at % step == 0);
        let moments = moments.filter(|at| !self.gaps.iter().any(|(from, to)| (*from..*to).contains(at)));
        let moments: Vec<i64> = moments.collect();
        let series = |metric: String, value: &dyn Fn(i64) -> Option<f64>| {
            let values = moments.iter().filter_map(|at| Some(format!(r#"[{at},"{}"]"#, value(*at)?)));
            format!(r#"{{"metric":{metric},"values":[{}]}}"#, values.collect::<Vec<_>>().join(","))
        };
        let gauge = self.gauges.iter().find(|(name, _)| query.contains(&format!("{name}{{")));
        let all: Vec<String> = match (known, gauge) {
            (Some(number), _) => {
                number.series.iter().map(|(country, value)| series(metric(country), value)).collect()
            }
            (None, Some((_, value))) => {
                let pods = self.pods.iter().map(|pod| {
                    let is_there = |at: i64| (pod.from..=pod.to()).contains(&at);
                    let metric = format!(r#"{{"namespace":"shop","pod":"{}"}}"#, pod.name);
                    series(metric, &|at| is_there(at).then(|| value(&pod.name, at)))
                });
                pods.collect()
            }
            (None, None) => Vec::new(),
        };
        Some(success("matrix", &format!("[{}]", all.join(","))))
    }
}

impl Number {
    fn now(&self, time: i64) -> String {
        if self.is_scalar {
            return success("scalar", &format!(r#"[{time},"1"]"#));
        }
        let series = self.series.iter().filter_map(|(country, value)| {
            Some(format!(r#"{{"metric":{},"value":[{time},"{}"]}}"#, metric(country), value(time)?))
        });
        success("vector", &format!("[{}]", series.collect::<Vec<_>>().join(",")))
    }
}

fn metric(country: &str) -> String {
    if country.is_empty() { "{}".to_owned() } else { format!(r#"{{"country":"{country}"}}"#) }
}
