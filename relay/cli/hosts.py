"""What to paste into the settings of an AI client's host, so that it answers an agent's calls.

The forms are those of docs/setup.md, which says where each comes from; a test holds the two against each other.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Host:
    """A program that MCP clients live in: `where` the text goes, and the text, with `{url}` and `{token}` in it."""

    where: str
    form: str
    then: str

    def lines(self, url: str, token: str) -> str:
        """Return what is to be pasted for a relay at `url`, an origin."""
        # Not `str.format`: the forms are full of braces of their own.
        return self.form.replace("{url}", url).replace("{token}", token).strip()


_ANSWERS_BY_ITSELF = "It answers whenever somebody calls, as long as it runs."
_STAFF_THE_PHONE = "Then have it staff the phone with the prompt answer_the_phone."

HOSTS = {
    "claude-code": Host(
        "in a terminal",
        'claude mcp add --transport http --scope user relay {url}/mcp --header "Authorization: Bearer {token}"',
        "Then type /mcp__relay__answer_the_phone in Claude Code.",
    ),
    "claude-desktop": Host(
        "in claude_desktop_config.json (Settings → Developer → Edit Config)",
        """
{
  "mcpServers": {
    "relay": {
      "command": "npx",
      "args": [
        "-y", "mcp-remote", "{url}/mcp", "--transport", "http-only", "--header", "Authorization:${AUTHORIZATION}"
      ],
      "env": {"AUTHORIZATION": "Bearer {token}"}
    }
  }
}
""",
        f"Restart Claude Desktop. {_STAFF_THE_PHONE}",
    ),
    "cursor": Host(
        "in ~/.cursor/mcp.json, or .cursor/mcp.json in a project",
        """
{
  "mcpServers": {
    "relay": {
      "url": "{url}/mcp",
      "headers": {"Authorization": "Bearer {token}"}
    }
  }
}
""",
        _STAFF_THE_PHONE,
    ),
    "fast-agent": Host(
        "in fast-agent.yaml (fastagent.config.yaml in older versions)",
        """
mcp:
  servers:
    relay:
      transport: http
      url: "{url}/mcp"
      headers:
        Authorization: "Bearer {token}"
      sampling:
        model: "haiku"
""",
        _ANSWERS_BY_ITSELF,
    ),
    "goose": Host(
        "in ~/.config/goose/config.yaml",
        """
extensions:
  relay:
    type: streamable_http
    name: relay
    enabled: true
    uri: "{url}/mcp"
    headers:
      Authorization: "Bearer {token}"
    envs: {}
    timeout: 300
""",
        _ANSWERS_BY_ITSELF,
    ),
    "vscode": Host(
        "in the file that the command MCP: Open User Configuration opens, or .vscode/mcp.json in a workspace",
        """
{
  "servers": {
    "relay": {
      "type": "http",
      "url": "{url}/mcp",
      "headers": {"Authorization": "Bearer {token}"}
    }
  }
}
""",
        "Allow it to sample outside a chat the first time it asks (call yourself). Then it answers by itself.",
    ),
    "attach": Host(
        "in a terminal",
        "COMMS_URL={url} COMMS_TOKEN={token} relay attach",
        "You answer at the keyboard; --claude has Claude answer, --command a program of yours.",
    ),
}
