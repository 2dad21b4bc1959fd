//! POSIX extended regular expressions (regcomp(3)): what `kill --regex` means by one.

use std::ffi::CString;

/// A compiled expression.
pub struct Regex(libc::regex_t);

impl Regex {
    /// # Errors
    /// In the C library's words, if `text` is no expression.
    pub fn new(text: &str) -> Result<Self, String> {
        let pattern = CString::new(text).map_err(|_| "has a NUL byte".to_owned())?;
        // SAFETY: a regex_t is plain data until regcomp() fills it.
        let mut compiled: libc::regex_t = unsafe { std::mem::zeroed() };
        // SAFETY: `compiled` is writable, `pattern` is a C string.
        let code = unsafe { libc::regcomp(&raw mut compiled, pattern.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB) };
        if code == 0 {
            return Ok(Self(compiled));
        }
        let mut text = [0u8; 256];
        // SAFETY: the pointer and length describe `text`, and regerror() ends what it writes with a NUL.
        unsafe { libc::regerror(code, &raw const compiled, text.as_mut_ptr().cast(), text.len()) };
        let words = text.split(|byte| *byte == 0).next().unwrap_or_default();
        Err(String::from_utf8_lossy(words).to_lowercase())
    }

    /// Whether some part of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let Ok(text) = CString::new(text) else { return false };
        // SAFETY: the expression is compiled, `text` is a C string, and REG_NOSUB asks for no positions.
        unsafe { libc::regexec(&raw const self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: compiled, and not used again.
        unsafe { libc::regfree(&raw mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::Regex;

    #[test]
    fn expressions_are_posix_extended_and_match_anywhere() {
        let web = Regex::new("^web-(1|2)$").unwrap();
        assert!(web.matches("web-1") && !web.matches("web-3") && !web.matches("a-web-1"));
        assert!(Regex::new("eb").unwrap().matches("web"));
        assert!(Regex::new("(").err().unwrap().contains("unmatched"));
    }
}
