"""What callers may say, and models may hand on, to make a tool do something else."""

from __future__ import annotations

from typing import Final

_PATHS: Final = (
    *(".", "..", "...", "....", "./", "../", "../..", "../../admin", "/", "//", "/etc"),
    *("..\\", "..\\..\\windows", "\\", "\\\\host\\share", "a/../b", "a/./b", "a//b"),
    *("%2e", "%2e%2e", "%2E%2E%2F", "..%2f", "..%2fadmin", "%2f", "%5c", "%2e%2e/"),
    *("%252e%252e", "%252e%252e%252f", "..%252f", "%25252e%25252e%25252f", "%c0%ae"),
    *("%c0%af", "..%c0%af", "%e0%80%af", "%u002e%u002e", "..;/", "..;a=b", ".;"),
    *(
        "..%3b/",
        "..%3bx",
        "\uff0e\uff0e\uff0f",
        "\u2025",
        "\u2025/",
        "\uff0e",
        "\uff0e\uff0e",
        "\uff0fadmin",
        "\uff3c",
        "\u2026",
    ),
    *("..\x00", "%00", "a%00.html", "..%00/", " ..", ".. ", " . ", "..\t", "\u202e.."),
    *("../orders/2", "1/../2", "1/cancel", "1%2fcancel", "1\\cancel", "1/", "/1"),
    *("file:///etc/passwd", "/proc/self/environ", "~root", ".git/config", "..?x=1"),
    *("..#x", "1;jsessionid=2", "1,2", "*", "**", "{order}", "{caller_number}", "{{}}"),
)
_HOSTS: Final = (
    *("@evil.example", "a@evil.example", "evil.example", "//evil.example", ":80"),
    *("http://evil.example/", "https://evil.example/", "https:evil.example", "://"),
    *("/\\evil.example", "\\\\evil.example", ".evil.example", "-evil.example", ":@"),
    *("#@evil.example", "?@evil.example", "evil.example:443", "[::1]", "127.0.0.1"),
    *("169.254.169.254", "http://169.254.169.254/latest/meta-data/", "0", "localhost"),
    *("gopher://127.0.0.1:25/_HELO", "dict://127.0.0.1:11211/", "ftp://a/", "data:,x"),
    *("javascript:alert(1)", "user:password@evil.example", "%40evil.example", "@"),
    *(
        "evil\u3002example",
        "\u24d4vil.example",
        "evil.example%00.shop.example",
        "xn--evil",
    ),
)
_LINES: Final = (
    *("\r\n", "\n", "\r", "\r\nX-Evil: 1", "\nX-Evil: 1", "\rX-Evil: 1", "a\r\n\r\nb"),
    *("1\r\nHost: evil.example", "1 HTTP/1.1\r\nHost: evil.example\r\n\r\n", "\x0b"),
    *("1\r\nContent-Length: 0\r\n\r\nDELETE / HTTP/1.1\r\n\r\n", "\x0c", "\x85"),
    *("\u2028X-Evil: 1", "\u2029X-Evil: 1", "%0d%0aX-Evil:%201", "%0aX-Evil: 1"),
    *(
        "\u560d\u560aX-Evil: 1",
        "\u010d\u010a",
        "\x00",
        "\x1b[2J",
        "\x7f",
        "\x08\x08",
        "\t",
    ),
    *("a\r\n b", "a\n\tb", "Authorization: Bearer x", "Cookie: a=b", ": x", "\x1c\x1d"),
    *("Transfer-Encoding: chunked", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
)
_QUERIES: Final = (
    *(
        "&admin=1",
        "1&order=2",
        "?admin=1",
        "#",
        "#fragment",
        "1#",
        "a=b",
        "=",
        "&",
        "?",
    ),
    *("%26admin%3d1", "%", "%%", "%2", "%zz", "+", "a+b", "a b", "a%20b", ";admin=1"),
    *("1&1=1&1", "[]", "a[]=1", "$ne", "%23", "|", "^", "`id`", "$(id)", "${7*7}"),
)
_JSON: Final = (
    *('"', '\\"', "\\", "\\\\", '\\\\"', '","admin":true,"x":"', '"}', '"},{"a":"b'),
    *('x","order":"2', "\\u0022", "\\u0022,\\u0022admin", "'", "null", "true", "{}"),
    *("[1]", '{"admin":true}', "]]>", "/*", "*/", "//", "<!--", "</script>", "\u0000"),
    *('\\","admin":1,"', "\ud800", "\udc00\ud800", "\U0001f600", "\ufeff", "\u200b"),
    *("NaN", "Infinity", "1e999", "-0", "0x10", '"""', "\\n", "\\x22", "\n", "a\nb"),
    *("__proto__", "constructor", "$where", "'; DROP TABLE orders; --", "1 OR 1=1"),
    *("<img src=x onerror=alert(1)>", "{{7*7}}", "<%= 7*7 %>", "#{7*7}", "%s%s%n"),
)

ARGUMENTS: Final = tuple(dict.fromkeys((*_PATHS, *_HOSTS, *_LINES, *_QUERIES, *_JSON)))
"""At least 200."""
