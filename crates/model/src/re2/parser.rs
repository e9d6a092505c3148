//! Reads a pattern from left to right and writes its translation. Flags are resolved on the way, so the output depends on none: greed is
//! written out, a dot is written as what it matches, and case is folded atom by atom.

use super::escape::{self, NOTHING};
use super::{Fault, MAX_NESTING, SyntaxError, Translation, class};

/// RE2 refuses counted repetitions above this.
const MAX_REPEAT: u32 = 1000;

#[derive(Clone, Copy, Default)]
struct Flags {
    /// `i`
    fold_case: bool,
    /// `m`
    multi_line: bool,
    /// `s`
    dot_all: bool,
    /// `U`
    ungreedy: bool,
}

struct Group {
    /// Flags that hold again after the group.
    outer: Flags,
    /// Where it begins in the output.
    start: usize,
}

/// What a repetition would apply to.
#[derive(Clone, Copy)]
struct Atom {
    /// Where it begins in the output.
    start: usize,
    /// Whether it carries a repetition already. Then it is wrapped, lest two operators run together.
    repeated: bool,
}

pub(super) struct Parser<'p> {
    whole: &'p str,
    rest: &'p str,
    out: String,
    flags: Flags,
    open: Vec<Group>,
    atom: Option<Atom>,
    /// The text from the previous token on, if that was a repetition.
    repeated_from: Option<&'p str>,
    group_names: Vec<Option<Box<str>>>,
}

impl<'p> Parser<'p> {
    pub(super) fn new(pattern: &'p str) -> Self {
        Self {
            whole: pattern,
            rest: pattern,
            out: String::with_capacity(2 * pattern.len()),
            flags: Flags::default(),
            open: Vec::new(),
            atom: None,
            repeated_from: None,
            group_names: vec![None],
        }
    }

    pub(super) fn run(mut self) -> Result<Translation, SyntaxError> {
        while let Some(c) = self.rest.chars().next() {
            let from = self.rest;
            let is_repetition = self.token(c)?;
            self.repeated_from = is_repetition.then_some(from);
        }
        if !self.open.is_empty() {
            return Err(SyntaxError::new(Fault::MissingParen, self.whole));
        }
        Ok(Translation { pattern: self.out, group_names: self.group_names })
    }

    /// Translates the token that begins with `c`; whether it was a repetition.
    fn token(&mut self, c: char) -> Result<bool, SyntaxError> {
        match c {
            '*' | '+' | '?' => {
                let (operator, after) = self.rest.split_at(1);
                self.repeat(operator, after)?;
                return Ok(true);
            }
            '{' => return self.counted(),
            '(' => self.open_group()?,
            ')' => self.close_group()?,
            '|' => {
                self.rest = &self.rest[1..];
                self.out.push('|');
                self.atom = None;
            }
            '^' => self.push_atom(1, if self.flags.multi_line { "(?m:^)" } else { r"\A" }),
            '$' => self.push_atom(1, if self.flags.multi_line { "(?m:$)" } else { r"\z" }),
            '.' => self.push_atom(1, if self.flags.dot_all { "(?s:.)" } else { r"[^\n]" }),
            '[' => {
                let (class, after) = class::bracketed(self.rest)?;
                self.push_class(&class, after);
            }
            '\\' => self.escaped()?,
            c => {
                self.rest = &self.rest[c.len_utf8()..];
                self.literal(u32::from(c));
            }
        }
        Ok(false)
    }

    /// Writes an atom that took `len` bytes of the pattern.
    fn push_atom(&mut self, len: usize, text: &str) {
        self.rest = &self.rest[len..];
        self.atom = Some(Atom { start: self.out.len(), repeated: false });
        self.out.push_str(text);
    }

    fn push_class(&mut self, class: &str, after: &'p str) {
        let len = self.rest.len() - after.len();
        if self.flags.fold_case {
            self.push_atom(len, &format!("(?i:{class})"));
        } else {
            self.push_atom(len, class);
        }
    }

    /// Writes a character whose place in the pattern was consumed already.
    fn literal(&mut self, code: u32) {
        let Some(c) = char::from_u32(code) else { return self.push_atom(0, NOTHING) };
        let mut text = [0; 4];
        let escaped = regex_syntax::escape(c.encode_utf8(&mut text));
        if self.flags.fold_case && (c.is_ascii_alphabetic() || !c.is_ascii()) {
            self.push_atom(0, &format!("(?i:{escaped})"));
        } else {
            self.push_atom(0, &escaped);
        }
    }

    fn escaped(&mut self) -> Result<(), SyntaxError> {
        match self.rest.as_bytes().get(1) {
            Some(b'A') => self.push_atom(2, r"\A"),
            Some(b'z') => self.push_atom(2, r"\z"),
            Some(b'b') => self.push_atom(2, r"(?-u:\b)"),
            Some(b'B') => self.push_atom(2, r"(?-u:\B)"),
            Some(b'Q') => self.quoted(),
            _ => {
                if let Some((class, after)) = escape::unicode_class(self.rest)? {
                    self.push_class(&class, after);
                } else if let Some((class, after)) = escape::perl_class(self.rest) {
                    self.push_class(class, after);
                } else {
                    let (code, after) = escape::character(self.rest)?;
                    self.rest = after;
                    self.literal(code);
                }
            }
        }
        Ok(())
    }

    /// `\Q...\E`, or to the end of the pattern. A repetition after it applies to the last character.
    fn quoted(&mut self) {
        let text = &self.rest[2..];
        let (quoted, after) = text.split_once(r"\E").unwrap_or((text, ""));
        self.rest = after;
        for c in quoted.chars() {
            self.literal(u32::from(c));
        }
    }

    fn open_group(&mut self) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_NESTING {
            return Err(SyntaxError::new(Fault::NestingDepth, self.whole));
        }
        if let Some(inner) = self.rest.strip_prefix("(?P<").or_else(|| self.rest.strip_prefix("(?<")) {
            let Some((name, after)) = inner.split_once('>') else { return Err(SyntaxError::new(Fault::NamedCapture, self.rest)) };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(SyntaxError::new(Fault::NamedCapture, &self.rest[..self.rest.len() - after.len()]));
            }
            self.group_names.push(Some(name.into()));
            self.begin_group("(", after, self.flags);
            return Ok(());
        }
        if self.rest.starts_with("(?") {
            return self.flags_or_group();
        }
        self.group_names.push(None);
        self.begin_group("(", &self.rest[1..], self.flags);
        Ok(())
    }

    fn begin_group(&mut self, opening: &str, after: &'p str, inner: Flags) {
        self.open.push(Group { outer: self.flags, start: self.out.len() });
        self.out.push_str(opening);
        self.flags = inner;
        self.rest = after;
        self.atom = None;
    }

    /// `(?flags)` or `(?flags:`. Flags alone are no atom: a repetition after them applies to what stood before.
    fn flags_or_group(&mut self) -> Result<(), SyntaxError> {
        let mut flags = self.flags;
        let (mut on, mut saw_flag) = (true, false);
        for (at, c) in self.rest.char_indices().skip(2) {
            let after = &self.rest[at + c.len_utf8()..];
            match c {
                'i' => flags.fold_case = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_all = on,
                'U' => flags.ungreedy = on,
                '-' if on => (on, saw_flag) = (false, false),
                ':' if on || saw_flag => {
                    self.begin_group("(?:", after, flags);
                    return Ok(());
                }
                ')' if on || saw_flag => {
                    self.flags = flags;
                    self.rest = after;
                    return Ok(());
                }
                _ => return Err(SyntaxError::new(Fault::PerlSyntax, &self.rest[..self.rest.len() - after.len()])),
            }
            saw_flag |= c != '-';
        }
        Err(SyntaxError::new(Fault::PerlSyntax, self.rest))
    }

    fn close_group(&mut self) -> Result<(), SyntaxError> {
        let Some(group) = self.open.pop() else { return Err(SyntaxError::new(Fault::UnexpectedParen, self.whole)) };
        self.rest = &self.rest[1..];
        self.out.push(')');
        self.flags = group.outer;
        self.atom = Some(Atom { start: group.start, repeated: false });
        Ok(())
    }

    /// `{n}`, `{n,}`, `{n,m}`; any other brace is a character.
    fn counted(&mut self) -> Result<bool, SyntaxError> {
        let Some((min, max, after)) = repeat_bounds(self.rest) else {
            self.rest = &self.rest[1..];
            self.literal(u32::from('{'));
            return Ok(false);
        };
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
            return Err(SyntaxError::new(Fault::RepeatCount, &self.rest[..self.rest.len() - after.len()]));
        }
        let operator = match max {
            None => format!("{{{min},}}"),
            Some(max) => format!("{{{min},{max}}}"),
        };
        self.repeat(&operator, after)?;
        Ok(true)
    }

    fn repeat(&mut self, operator: &str, after: &'p str) -> Result<(), SyntaxError> {
        let (after, lazy) = after.strip_prefix('?').map_or((after, false), |after| (after, true));
        if let Some(from) = self.repeated_from {
            return Err(SyntaxError::new(Fault::RepeatOperator, &from[..from.len() - after.len()]));
        }
        let Some(atom) = self.atom else {
            return Err(SyntaxError::new(Fault::MissingArgument, &self.rest[..self.rest.len() - after.len()]));
        };
        if atom.repeated {
            self.out.insert_str(atom.start, "(?:");
            self.out.push(')');
        }
        self.out.push_str(operator);
        if lazy != self.flags.ungreedy {
            self.out.push('?');
        }
        self.atom = Some(Atom { repeated: true, ..atom });
        self.rest = after;
        Ok(())
    }
}

/// The bounds of a counted repetition at the start of `text`, and what follows. `None` if the brace begins none.
fn repeat_bounds(text: &str) -> Option<(u32, Option<u32>, &str)> {
    let (min, rest) = number(text.strip_prefix('{')?)?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => number(rest).map(|(max, rest)| (Some(max), rest))?,
    };
    Some((min, max, rest.strip_prefix('}')?))
}

/// A number without leading zeros; one that is too large stays too large.
fn number(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || (digits > 1 && text.starts_with('0')) {
        return None;
    }
    Some((text[..digits].parse().unwrap_or(u32::MAX), &text[digits..]))
}
