//! Reads the directives of a format: `%[index]flags width.precision verb`.

use crate::value::{Number, Value};

/// Go takes larger widths and precisions for mistakes.
const MAX_SIZE: usize = 1_000_000;

/// A directive and which argument it takes.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "Go's flags")]
pub(super) struct Directive {
    pub verb: char,
    pub operand: Operand,
    pub plus: bool,
    pub minus: bool,
    pub sharp: bool,
    pub space: bool,
    pub zero: bool,
    pub width: Option<usize>,
    pub precision: Option<usize>,
    pub bad_width: bool,
    pub bad_precision: bool,
}

/// What a directive stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// The format ends within the directive.
    NoVerb,
    /// `%%`
    Percent,
    /// The index in brackets is none.
    BadIndex,
    /// There are not that many arguments.
    Missing,
    /// The argument at this index.
    Argument(usize),
}

impl Directive {
    /// A verb without anything.
    pub const fn plain(verb: char) -> Self {
        Self {
            verb,
            operand: Operand::NoVerb,
            plus: false,
            minus: false,
            sharp: false,
            space: false,
            zero: false,
            width: None,
            precision: None,
            bad_width: false,
            bad_precision: false,
        }
    }
}

/// Walks through a format.
pub(super) struct Reader<'a> {
    rest: &'a str,
    arguments: &'a [Value],
    next: usize,
    /// Whether any directive named its argument: then surplus arguments are no mistake.
    reordered: bool,
    /// Whether the index in the current directive is usable.
    good_index: bool,
    /// Whether an index was read last, which the verb must not follow after a `.`.
    after_index: bool,
}

impl<'a> Reader<'a> {
    pub const fn new(format: &'a str, arguments: &'a [Value]) -> Self {
        Self { rest: format, arguments, next: 0, reordered: false, good_index: true, after_index: false }
    }

    /// Text and the directive behind it; the last text has none.
    pub fn next_directive(&mut self) -> Option<(&'a str, Option<Directive>)> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((text, rest)) = self.rest.split_once('%') else {
            return Some((std::mem::take(&mut self.rest), None));
        };
        self.rest = rest;
        Some((text, Some(self.directive())))
    }

    /// Arguments behind the last one that was asked for, unless arguments were asked for by index.
    pub fn surplus(&self) -> &'a [Value] {
        if self.reordered { &[] } else { self.arguments.get(self.next..).unwrap_or_default() }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn eat(&mut self, expected: char) -> bool {
        let found = self.rest.strip_prefix(expected);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn directive(&mut self) -> Directive {
        let mut directive = Directive::plain(' ');
        self.good_index = true;
        self.after_index = false;
        self.flags(&mut directive);
        self.index();
        self.width(&mut directive);
        self.precision(&mut directive);
        if !self.after_index {
            self.index();
        }
        self.verb(&mut directive);
        directive
    }

    fn flags(&mut self, directive: &mut Directive) {
        loop {
            match self.peek() {
                Some('#') => directive.sharp = true,
                Some('0') => directive.zero = true,
                Some('+') => directive.plus = true,
                Some('-') => directive.minus = true,
                Some(' ') => directive.space = true,
                _ => return,
            }
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
    }

    /// `[n]`, counted from 1.
    fn index(&mut self) {
        let Some(inner) = self.rest.strip_prefix('[') else { return };
        self.reordered = true;
        let Some((digits, rest)) = inner.split_once(']') else {
            self.good_index = false;
            self.rest = inner;
            return;
        };
        self.rest = rest;
        let index = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<usize>().ok()).flatten();
        match index.and_then(|index| index.checked_sub(1)).filter(|index| *index < self.arguments.len()) {
            Some(index) => {
                self.next = index;
                self.after_index = true;
            }
            None => self.good_index = false,
        }
    }

    fn width(&mut self, directive: &mut Directive) {
        if self.eat('*') {
            match self.size_argument() {
                Some(width) => {
                    directive.width = Some(width.unsigned_abs());
                    if width < 0 {
                        directive.minus = true;
                        directive.zero = false;
                    }
                }
                None => directive.bad_width = true,
            }
            self.after_index = false;
        } else if let Some(width) = self.number() {
            directive.width = Some(width);
            // "%[3]2d" names an argument that it then does not take.
            self.good_index &= !self.after_index;
        }
    }

    fn precision(&mut self, directive: &mut Directive) {
        if !self.eat('.') {
            return;
        }
        self.good_index &= !self.after_index;
        self.index();
        if self.eat('*') {
            match self.size_argument() {
                Some(precision) => directive.precision = usize::try_from(precision).ok(),
                None => directive.bad_precision = true,
            }
            directive.bad_precision |= directive.precision.is_none();
            self.after_index = false;
        } else {
            directive.precision = Some(self.number().unwrap_or(0));
        }
    }

    /// Digits; nothing if there are none or too many, in which case they are skipped nevertheless.
    fn number(&mut self) -> Option<usize> {
        let end = self.rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        let number = digits.parse().ok();
        if number.is_some_and(|number| number > MAX_SIZE) || (number.is_none() && end > 0) {
            self.rest = rest;
            return None;
        }
        self.rest = rest;
        number
    }

    fn size_argument(&mut self) -> Option<isize> {
        let argument = self.arguments.get(self.next)?;
        self.next += 1;
        let Value::Number(Number::Int(size)) = argument else { return None };
        isize::try_from(*size).ok().filter(|size| size.unsigned_abs() <= MAX_SIZE)
    }

    fn verb(&mut self, directive: &mut Directive) {
        let Some(verb) = self.peek() else { return };
        self.rest = self.rest.get(verb.len_utf8()..).unwrap_or_default();
        directive.verb = verb;
        directive.operand = if verb == '%' {
            Operand::Percent
        } else if !self.good_index {
            Operand::BadIndex
        } else if self.next >= self.arguments.len() {
            Operand::Missing
        } else {
            self.next += 1;
            Operand::Argument(self.next - 1)
        };
    }
}
