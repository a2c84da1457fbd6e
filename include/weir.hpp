/*
 * weir.hpp: weir.h for C++17. Header only.
 *
 * What is opened is closed by its destructor, and can be moved but not copied. What fails throws weir::error, with the
 * result and its words. What weir.h says of threads, times and forks holds here too; whatever is missing here can be
 * called in C with `get()`.
 */
#ifndef WEIR_HPP
#define WEIR_HPP

#include "weir.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir {

/* Something came to nothing. */
class error : public std::runtime_error {
public:
    error(weir_result what_came, const std::string &words) : std::runtime_error(words), result(what_came) {}
    weir_result result;
};

/* One finding in a config. */
struct diagnostic {
    weir_severity severity;
    std::uint32_t line, column;
    std::string file, field, message, help;
};

/* A config is refused: `what()` has the first finding, `diagnostics` has them all. */
class config_error : public error {
public:
    config_error(const std::string &words, std::vector<diagnostic> found) : error(WEIR_CONFIG_REFUSED, words), diagnostics(std::move(found)) {}
    std::vector<diagnostic> diagnostics;
};

using headers = std::vector<std::pair<std::string, std::string>>;

namespace detail {

inline weir_str str(std::string_view text) { return {text.data(), text.size()}; }
inline std::string string(weir_str text) { return text.len ? std::string(text.data, text.len) : std::string(); }

inline const std::uint8_t *raw(std::string_view data) { return reinterpret_cast<const std::uint8_t *>(data.data()); }

inline std::string last_error() {
    std::string words(weir_last_error(nullptr, 0) + 1, '\0');
    words.resize(weir_last_error(&words[0], words.size()));
    return words;
}

/* Whether there was something; throws what failed. */
inline bool check(weir_result result) {
    if (result != WEIR_OK && result != WEIR_NONE) throw error(result, last_error());
    return result == WEIR_OK;
}

/* What a call writes to its last parameter; empty if there is nothing. */
template <typename T, typename Call> std::optional<T> maybe(Call call) {
    T value = {};
    return check(call(&value)) ? std::optional<T>(value) : std::nullopt;
}
template <typename T, typename Call> T got(Call call) { return maybe<T>(call).value_or(T()); }

template <typename T, weir_result (*Free)(T *)> struct freeing {
    void operator()(T *handle) const { Free(handle); }
};
/* A handle is no address, but it is kept as one. */
template <typename T, weir_result (*Free)(T *)> using handle = std::unique_ptr<T, freeing<T, Free>>;

/* Calls what gives bytes, and copies them. */
template <typename Call> std::string bytes(Call call) {
    handle<weir_bytes, weir_bytes_free> made(got<weir_bytes *>(call));
    const std::uint8_t *data = nullptr;
    std::size_t len = 0;
    check(weir_bytes_get(made.get(), &data, &len));
    return std::string(reinterpret_cast<const char *>(data), len);
}

/* Calls what reads a config; answers the findings that do not keep it from being run. */
template <typename Call> std::vector<diagnostic> configured(Call call) {
    weir_diagnostics *made = nullptr;
    weir_result result = call(&made);
    std::string words = result == WEIR_OK ? std::string() : last_error();
    handle<weir_diagnostics, weir_diagnostics_free> freed(made);
    std::vector<diagnostic> found;
    weir_diagnostic one = WEIR_INIT(weir_diagnostic);
    while (made && weir_diagnostics_get(made, found.size(), &one) == WEIR_OK)
        found.push_back({static_cast<weir_severity>(one.severity), one.line, one.column, string(one.file), string(one.field), string(one.message), string(one.help)});
    if (result == WEIR_CONFIG_REFUSED) throw config_error(words, std::move(found));
    if (result != WEIR_OK) throw error(result, words);
    return found;
}

inline std::vector<weir_header> fields(const headers &given) {
    std::vector<weir_header> made;
    for (const auto &[name, value] : given) made.push_back({str(name), str(value)});
    return made;
}

} // namespace detail

/* A whole response. */
struct response {
    std::uint32_t status = 0;
    weir::headers headers, trailers;
    std::string body;
};

/* A request, without its body. */
struct request {
    std::string method = "GET", authority = "localhost", path = "/";
    weir::headers headers;
    bool has_body = false;
};

namespace detail {
/* A request as C takes it, which lives as long as what it was made of. */
struct raw_request {
    explicit raw_request(const request &from) : listed(fields(from.headers)) {
        raw.method = str(from.method), raw.authority = str(from.authority), raw.path = str(from.path);
        raw.headers = listed.data(), raw.header_count = listed.size(), raw.has_body = from.has_body;
    }
    std::vector<weir_header> listed;
    weir_request raw = WEIR_INIT(weir_request);
};
} // namespace detail

/* A call under way. One thread may send while another reads. */
class call {
public:
    explicit call(weir_call *taken) : handle_(taken) {}
    weir_call *get() const { return handle_.get(); }

    void send(std::string_view data) { detail::check(weir_call_send(get(), detail::raw(data), data.size())); }
    void finish(const headers &trailers = {}) {
        std::vector<weir_header> made = detail::fields(trailers);
        detail::check(weir_call_finish(get(), made.data(), made.size()));
    }
    void cancel() { detail::check(weir_call_cancel(get())); }

    std::uint32_t status(std::uint64_t nanos = WEIR_FOREVER) {
        return detail::got<std::uint32_t>([&](auto out) { return weir_call_response(get(), nanos, out, nullptr); });
    }
    /* The header fields, once `status` has answered. */
    weir::headers headers() const { return all(weir_call_header); }
    /* The trailers, once `read` has answered that the body is whole. */
    weir::headers trailers() const { return all(weir_call_trailer); }

    /* The next piece of the body; empty when it is whole. */
    std::string read(std::uint64_t nanos = WEIR_FOREVER) {
        std::string piece(64 * 1024, '\0');
        std::size_t count = 0;
        if (!detail::check(weir_call_read(get(), reinterpret_cast<std::uint8_t *>(&piece[0]), piece.size(), &count, nanos))) return {};
        piece.resize(count);
        return piece;
    }
    /* Waits for all of it. */
    weir::response response() {
        weir::response whole;
        whole.status = status();
        whole.headers = headers();
        for (std::string piece = read(); !piece.empty(); piece = read()) whole.body += piece;
        whole.trailers = trailers();
        return whole;
    }

private:
    template <typename Get> weir::headers all(Get get_one) const {
        weir::headers found;
        weir_header one = {};
        while (detail::check(get_one(get(), found.size(), &one))) found.emplace_back(detail::string(one.name), detail::string(one.value));
        return found;
    }
    detail::handle<weir_call, weir_call_free> handle_;
};

/* A whole proxy in this process. It is stopped when this goes; all functions may be called on any thread. */
class proxy {
public:
    /* Takes a line of the log, on the proxy's threads, on several at once. It must not throw. */
    using log_function = std::function<void(weir_level, std::string_view)>;

    /* Starts a proxy from Envoy's v3 bootstrap, as YAML or JSON. `options.log` is the C one, unless `log` is given. */
    explicit proxy(std::string_view config, std::string_view file = "config", weir_proxy_options options = WEIR_INIT(weir_proxy_options), log_function log = nullptr) {
        stopping stop;
        if (log) {
            stop.log = std::make_unique<log_function>(std::move(log));
            options.log_data = stop.log.get();
            options.log = [](void *data, std::uint32_t level, weir_str line) {
                (*static_cast<log_function *>(data))(static_cast<weir_level>(level), std::string_view(line.data, line.len));
            };
        }
        weir_proxy *started = nullptr;
        warnings = detail::configured([&](weir_diagnostics **found) { return weir_proxy_start(detail::str(config), detail::str(file), &options, &started, found); });
        handle_ = {started, std::move(stop)};
    }
    weir_proxy *get() const { return handle_.get(); }

    /* What was found in the config that does not keep it from being run. */
    std::vector<diagnostic> warnings;

    /* Goes on with another config. */
    void update(std::string_view config, std::string_view file = "config") {
        warnings = detail::configured([&](weir_diagnostics **found) { return weir_proxy_update(get(), detail::str(config), detail::str(file), found); });
    }
    /* Where a listener listens; without a name, the first of the config. */
    weir_address listener(std::string_view name = {}) const {
        return detail::got<weir_address>([&](auto out) { return weir_proxy_listener(get(), detail::str(name), out); });
    }
    std::uint64_t stat(std::string_view name) const {
        return detail::got<std::uint64_t>([&](auto out) { return weir_proxy_stat(get(), detail::str(name), out); });
    }
    std::string stats() const { return detail::bytes([&](auto out) { return weir_proxy_stats(get(), out); }); }
    std::string explain(const request &request, std::string_view listener = {}) const {
        detail::raw_request asked(request);
        return detail::bytes([&](weir_bytes **out) { return weir_proxy_explain(get(), detail::str(listener), &asked.raw, out); });
    }
    /* Begins a request without a socket. */
    weir::call call(const request &request, std::string_view listener = {}) {
        detail::raw_request asked(request);
        return weir::call(detail::got<weir_call *>([&](auto out) { return weir_proxy_call(get(), detail::str(listener), &asked.raw, out); }));
    }
    /* Begins a drain. */
    void drain() { detail::check(weir_proxy_drain(get())); }
    /* Waits until the proxy has ended; how many exchanges were cut. Throws WEIR_TIMED_OUT. */
    std::uint32_t wait(std::uint64_t nanos = WEIR_FOREVER) {
        return detail::got<std::uint32_t>([&](auto out) { return weir_proxy_wait(get(), nanos, out); });
    }
    void stop() { detail::check(weir_proxy_stop(get())); }

private:
    /* The proxy's threads call the log: it goes after the handle. */
    struct stopping {
        std::unique_ptr<log_function> log;
        void operator()(weir_proxy *proxy) const { weir_proxy_free(proxy); }
    };
    std::unique_ptr<weir_proxy, stopping> handle_;
};

/* An engine: bytes in, bytes out, on the host's time. What is not here is called in C, with `get()`. */
class engine {
public:
    explicit engine(std::string_view config, std::string_view file = "config", weir_engine_options options = WEIR_INIT(weir_engine_options)) {
        weir_config *loaded = nullptr;
        warnings = detail::configured([&](weir_diagnostics **found) { return weir_config_load(detail::str(config), detail::str(file), 0, &loaded, found); });
        detail::handle<weir_config, weir_config_free> freed(loaded);
        handle_.reset(detail::got<weir_engine *>([&](auto out) { return weir_engine_new(loaded, &options, out); }));
    }
    weir_engine *get() const { return handle_.get(); }
    std::vector<diagnostic> warnings;

    std::uint64_t listener(std::string_view name) const {
        return detail::got<std::uint64_t>([&](auto out) { return weir_engine_listener(get(), detail::str(name), out); });
    }
    std::uint64_t accept(std::uint64_t listener, const weir_address &local, const weir_address &remote, std::uint64_t now) {
        return detail::got<std::uint64_t>([&](auto out) { return weir_engine_accept(get(), listener, &local, &remote, now, out); });
    }
    std::size_t recv(std::uint64_t conn, std::string_view data, std::uint64_t now) {
        return detail::got<std::size_t>([&](auto taken) { return weir_engine_recv(get(), conn, detail::raw(data), data.size(), taken, now); });
    }
    /* The next thing to do. Its texts live until the next one is asked for. */
    std::optional<weir_action> next_action() {
        weir_action action = WEIR_INIT(weir_action);
        return detail::check(weir_engine_next_action(get(), &action)) ? std::optional(action) : std::nullopt;
    }
    std::optional<std::uint64_t> deadline() const {
        return detail::maybe<std::uint64_t>([&](auto out) { return weir_engine_deadline(get(), out); });
    }
    /* All there is to send on a connection. It counts as sent. */
    std::string transmit(std::uint64_t conn, std::uint64_t now) {
        std::string all(64 * 1024, '\0');
        std::size_t used = 0, count = 0;
        while (detail::check(weir_engine_transmit_copy(get(), conn, reinterpret_cast<std::uint8_t *>(&all[used]), all.size() - used, &count, now))) {
            used += count;
            if (used == all.size()) all.resize(2 * used);
        }
        all.resize(used);
        return all;
    }

private:
    detail::handle<weir_engine, weir_engine_free> handle_;
};

} // namespace weir

#endif /* WEIR_HPP */
