//! Text → tokens, with nom. The grammar above them is a hand-written descent, because its messages must name the token at
//! which a statement went wrong.

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, tag_no_case, take_until, take_while, take_while_m_n, take_while1};
use nom::character::complete::{anychar, char, digit1, hex_digit1, multispace1, one_of, satisfy};
use nom::combinator::{map, map_opt, not, opt, peek, recognize, value};
use nom::multi::many0_count;
use nom::sequence::{pair, preceded, terminated};
use nom::{IResult, Parser};

use super::ast::Span;
use crate::error::Fault;
use crate::value::{Value, parse_address};

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    /// A name or keyword.
    Word(String),
    /// A name between back-ticks, never a keyword.
    QuotedWord(String),
    /// A number, text or address.
    Literal(Value),
    /// `10.0.0.0/8`, the length in bits of IPv6.
    Network([u8; 16], u8),
    /// An operator or other sign.
    Symbol(&'static str),
    /// The end of the text.
    End,
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// Longest first, so that none hides another.
const SYMBOLS: [&str; 34] = [
    "->", "=>", "<=", ">=", "<>", "!=", "||", "(", ")", "[", "]", "{", "}", ",", ";", ".", ":", "#", "@", "+", "-",
    "*", "/", "%", "&", "|", "^", "=", "<", ">", "?", "!", "~", "\\",
];

fn blank(input: &str) -> IResult<&str, ()> {
    let comment = alt((
        value((), (tag("/*"), take_until("*/"), tag("*/"))),
        value((), (tag("//"), opt(is_not("\n\r")))),
    ));
    value((), many0_count(alt((value((), multispace1), comment)))).parse(input)
}

fn is_word_start(character: char) -> bool {
    character.is_alphabetic() || character == '_' || character == '$'
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

fn word(input: &str) -> IResult<&str, &str> {
    recognize(pair(satisfy(is_word_start), take_while(is_word))).parse(input)
}

fn quoted_word(input: &str) -> IResult<&str, &str> {
    nom::sequence::delimited(char('`'), take_while1(|c| c != '`' && c != '\n'), char('`')).parse(input)
}

/// A text between single or double quotes, with the escapes of Java.
fn text(input: &str) -> IResult<&str, String> {
    let (mut rest, quote) = one_of("'\"").parse(input)?;
    let mut text = String::new();
    loop {
        let (after, character) = anychar(rest)?;
        rest = after;
        match character {
            _ if character == quote => return Ok((rest, text)),
            '\\' => {
                let (after, escaped) = escape(rest)?;
                rest = after;
                text.push(escaped);
            }
            _ => text.push(character),
        }
    }
}

fn escape(input: &str) -> IResult<&str, char> {
    let unicode = preceded(
        char('u'),
        map_opt(take_while_m_n(4, 4, |c: char| c.is_ascii_hexdigit()), |digits| {
            u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)
        }),
    );
    alt((
        value('\n', char('n')),
        value('\t', char('t')),
        value('\r', char('r')),
        value('\u{8}', char('b')),
        value('\u{c}', char('f')),
        unicode,
        anychar,
    ))
    .parse(input)
}

/// `10.0.0.1` and `10.0.0.0/8`.
fn address(input: &str) -> IResult<&str, TokenKind> {
    let quad = recognize((digit1, char('.'), digit1, char('.'), digit1, char('.'), digit1));
    let (rest, address) = map_opt(quad, parse_address).parse(input)?;
    let length = map_opt(preceded(char('/'), digit1), |digits: &str| {
        digits.parse::<u8>().ok().filter(|bits| *bits <= 32)
    });
    let (rest, length) = opt(length).parse(rest)?;
    let kind = match length {
        Some(bits) => TokenKind::Network(address, 96 + bits),
        None => TokenKind::Literal(Value::Address(address)),
    };
    Ok((rest, kind))
}

fn number(input: &str) -> IResult<&str, Value> {
    let end = |input| terminated(recognize(nom::combinator::success(())), not(peek(satisfy(is_word)))).parse(input);
    let hex = terminated(preceded(tag_no_case("0x"), hex_digit1), end);
    let hex = map_opt(hex, |digits: &str| {
        i32::from_str_radix(digits, 16)
            .map(Value::Int)
            .or_else(|_| i64::from_str_radix(digits, 16).map(Value::Long))
            .ok()
    });
    let exponent = |input| recognize((one_of("eE"), opt(one_of("+-")), digit1)).parse(input);
    let fraction = alt((
        recognize((digit1, char('.'), digit1, opt(exponent))),
        recognize((char('.'), digit1, opt(exponent))),
        recognize((digit1, exponent)),
        recognize(terminated(digit1, peek(one_of("fFdD")))),
    ));
    let double = map_opt((fraction, opt(one_of("fFdD")), end), |(digits, _, _): (&str, _, _)| {
        digits
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .map(Value::Double)
    });
    let long = map_opt((digit1, one_of("lL"), end), |(digits, _, _): (&str, _, _)| {
        digits.parse().ok().map(Value::Long)
    });
    // Esper refuses a plain number beyond 32 bits; here it is a long, as a time in milliseconds may well be.
    let whole = map_opt(terminated(digit1, end), |digits: &str| {
        digits
            .parse()
            .map(Value::Int)
            .or_else(|_| digits.parse().map(Value::Long))
            .ok()
    });
    alt((hex, double, long, whole)).parse(input)
}

fn symbol(input: &str) -> IResult<&str, &'static str> {
    map_opt(nom::combinator::rest, |rest: &str| {
        SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol))
    })
    .parse(input)
    .map(|(_, symbol)| (&input[symbol.len()..], symbol))
}

fn token(input: &str) -> IResult<&str, TokenKind> {
    alt((
        map(word, |word: &str| TokenKind::Word(word.to_owned())),
        map(quoted_word, |word: &str| TokenKind::QuotedWord(word.to_owned())),
        map(text, |text| TokenKind::Literal(Value::text(&text))),
        address,
        map(number, TokenKind::Literal),
        map(symbol, TokenKind::Symbol),
    ))
    .parse(input)
}

/// All tokens of a text, the last being [`TokenKind::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, Box<Fault>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = blank(rest).map_or(rest, |(rest, ())| rest);
        let start = text.len() - rest.len();
        if rest.is_empty() {
            tokens.push(Token {
                kind: TokenKind::End,
                span: Span::new(start, start),
            });
            return Ok(tokens);
        }
        match token(rest) {
            Ok((after, kind)) => {
                let end = text.len() - after.len();
                tokens.push(Token {
                    kind,
                    span: Span::new(start, end),
                });
                rest = after;
            }
            Err(_) => return Err(bad_token(rest, start)),
        }
    }
}

/// Says why no token begins here.
fn bad_token(rest: &str, start: usize) -> Box<Fault> {
    let first = rest.chars().next().unwrap_or(' ');
    let span = Span::new(start, start + first.len_utf8());
    match first {
        '\'' | '"' => Fault::syntax(span, "Unterminated text").with_hint(Some(format!("close the text with {first}"))),
        '`' => Fault::syntax(span, "Unterminated name").with_hint(Some("close the name with `".to_owned())),
        '0'..='9' => {
            let length = rest.find(|c: char| !is_word(c) && c != '.').unwrap_or(rest.len());
            Fault::syntax(
                Span::new(start, start + length),
                format!("Invalid number '{}'", &rest[..length]),
            )
        }
        _ => Fault::syntax(span, format!("Unexpected character '{first}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text).unwrap().into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn numbers_have_the_types_of_their_spelling() {
        for (text, expected) in [
            ("7", Value::Int(7)),
            ("7L", Value::Long(7)),
            ("7.5", Value::Double(7.5)),
            ("7f", Value::Double(7.0)),
            (".5", Value::Double(0.5)),
            ("1e3", Value::Double(1000.0)),
            ("0x1F", Value::Int(31)),
            ("1400000040000", Value::Long(1_400_000_040_000)),
        ] {
            let found = kinds(text);
            assert_eq!(found[0], TokenKind::Literal(expected.clone()), "{text}");
            let TokenKind::Literal(value) = &found[0] else {
                unreachable!()
            };
            assert_eq!(value.value_type(), expected.value_type(), "{text}");
        }
        assert!(tokens("7x").is_err());
    }

    #[test]
    fn addresses_and_networks_are_single_tokens() {
        let ten = parse_address("10.0.0.0").unwrap();
        assert_eq!(kinds("10.0.0.0/8")[0], TokenKind::Network(ten, 104));
        assert_eq!(kinds("10.0.0.0")[0], TokenKind::Literal(Value::Address(ten)));
        assert_eq!(kinds("a.b[0]").len(), 7);
    }

    #[test]
    fn comments_and_escapes() {
        assert_eq!(
            kinds("/* x */ 'a\\'b\\u0041' // end")[0],
            TokenKind::Literal(Value::text("a'bA"))
        );
        assert!(tokens("'abc").is_err());
        assert!(tokens("a \u{1} b").is_err());
    }
}
