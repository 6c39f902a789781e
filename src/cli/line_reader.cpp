#include "cli/line_reader.h"

#include <histedit.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "base/error.h"
#include "cli/terminal.h"

namespace cachalot {

static constexpr int kHistoryLines = 500;

// libedit's editor. Ctrl-C is a key here and no signal, so that it drops the line and not the program.
struct LineReader::Editor {
  Editor() : history(history_init()), edit(el_init("cachalot", stdin, stdout, stderr)) {
    HistEvent event;
    ::history(history, &event, H_SETSIZE, kHistoryLines);
    ::history(history, &event, H_SETUNIQUE, 1);
    el_set(edit, EL_CLIENTDATA, this);
    el_set(edit, EL_EDITOR, "emacs");
    el_set(edit, EL_SIGNAL, 1);
    el_set(edit, EL_HIST, ::history, history);
    el_set(edit, EL_PROMPT, show_prompt);
    el_wset(edit, EL_ADDFN, L"drop-line", L"Forget the line", drop_line);  // el_set would leak copies of the names
    el_set(edit, EL_BIND, "^C", "drop-line", nullptr);
    el_set(edit, EL_SETTY, "-d", "-isig", nullptr);
    for (const auto& [key, action] : {std::pair{"\033[1~", "ed-move-to-beg"},
                                      {"\033[4~", "ed-move-to-end"},
                                      {"\033[H", "ed-move-to-beg"},
                                      {"\033[F", "ed-move-to-end"},
                                      {"\033[3~", "ed-delete-next-char"},
                                      {"\033[1;5C", "em-next-word"},
                                      {"\033[1;5D", "ed-prev-word"},
                                      {"^R", "em-inc-search-prev"}})
      el_set(edit, EL_BIND, key, action, nullptr);
  }
  ~Editor() {
    el_end(edit);
    history_end(history);
  }

  static Editor& of(EditLine* edit) {
    void* self = nullptr;
    el_get(edit, EL_CLIENTDATA, &self);
    return *static_cast<Editor*>(self);
  }
  static char* show_prompt(EditLine* edit) { return of(edit).prompt.data(); }
  static unsigned char drop_line(EditLine* edit, int) {
    of(edit).dropped = true;
    std::fputs("^C\n", stdout);
    return CC_NEWLINE;
  }

  ::History* history;
  EditLine* edit;
  std::string prompt;
  bool dropped = false;
};

LineReader::LineReader() {
  if (is_terminal(stdin) && is_terminal(stdout)) editor_ = std::make_unique<Editor>();
}
LineReader::~LineReader() = default;

std::optional<LineReader::Line> LineReader::read_plain() {
  std::string text;
  for (int byte; (byte = std::getchar()) != EOF;) {
    if (byte == '\n') return Line{text};
    text += static_cast<char>(byte);
  }
  if (std::ferror(stdin) && errno != EBADF)  // closed from the start: nothing is said
    throw Error("cannot read the file").in("standard input").because(std::generic_category().message(errno));
  if (text.empty()) return std::nullopt;
  return Line{text};
}

std::optional<LineReader::Line> LineReader::read(const std::string& prompt) {
  Line line;
  for (bool more = false;; more = true) {
    std::optional<Line> part;
    if (editor_) {
      editor_->prompt = more ? "… " : prompt;
      editor_->dropped = false;
      int count = 0;
      el_set(editor_->edit, EL_PREP_TERM,
             1);  // before the prompt is shown, or a key typed at once would miss the editor
      const char* text = el_gets(editor_->edit, &count);
      if (text && count > 0) part = Line{std::string(text, static_cast<size_t>(count)), editor_->dropped};
      if (editor_->dropped) return Line{"", true};
    } else {
      part = read_plain();
    }
    if (!part) return more ? std::optional(line) : std::nullopt;
    while (part->text.ends_with('\n') || part->text.ends_with('\r')) part->text.pop_back();
    const bool continues = part->text.ends_with('\\');
    if (continues) part->text.back() = '\n';
    line.text += part->text;
    if (!continues) break;
  }
  if (editor_ && line.text.find_first_not_of(" \t\n") != std::string::npos) {
    HistEvent event;
    ::history(editor_->history, &event, H_ENTER, line.text.c_str());
  }
  return line;
}

}  // namespace cachalot
