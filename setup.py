"""What setup.cfg can't say: the README as an index of packages can show it."""

import pathlib
import re

import setuptools

README = pathlib.Path(__file__).with_name("README.md").read_text("utf-8")
# Pictures with the line in italics below, and links, to files that lie beside
# the README in a clone and nowhere in an index.
PICTURE = re.compile(
    r"^!\[[^]]*\]\((?!https?:)[^)]*\)\n+(?:\*(?![\s*])[^*]+\*\n+)?", re.M
)
LINK = re.compile(r"\[([^]]+)\]\((?!https?:|#)[^)]*\)")


def text_alone(markdown):
    """Returns Markdown outside code without its pictures and local links."""
    return LINK.sub(r"\1", PICTURE.sub("", markdown))


code_or_text = re.split(r"(^```.*?^```$)", README, flags=re.M | re.S)
setuptools.setup(
    long_description="".join(
        part if part.startswith("```") else text_alone(part)
        for part in code_or_text
    ),
    long_description_content_type="text/markdown",
)
