/* weir.hpp, for the test `cpp`: what its example does not use. */
#include "weir.hpp"

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>
#include <type_traits>

#define MUST(what) ((what) ? void() : (std::cerr << __LINE__ << ": " #what "\n", std::abort()))

static_assert(!std::is_copy_constructible<weir::proxy>::value && std::is_nothrow_move_constructible<weir::proxy>::value, "moved only");
static_assert(!std::is_copy_constructible<weir::call>::value && std::is_nothrow_move_constructible<weir::call>::value, "moved only");
static_assert(!std::is_copy_constructible<weir::engine>::value && std::is_nothrow_move_constructible<weir::engine>::value, "moved only");

template <typename Work> static weir_result fails(Work work) {
    try {
        work();
    } catch (const weir::error &error) {
        MUST(!std::string(error.what()).empty());
        return error.result;
    }
    return WEIR_OK;
}

static void proxies(const std::string &config) {
    int lines[2] = {0, 0};
    auto log = [&lines](int which) { return [&lines, which](weir_level, std::string_view) { ++lines[which]; }; };
    weir::proxy one(config, "one", WEIR_INIT(weir_proxy_options), log(0));
    weir::proxy other(config, "other", WEIR_INIT(weir_proxy_options), log(1));
    MUST(one.listener().port != other.listener().port && one.listener("main").port == one.listener().port);

    weir::request request;
    request.method = "POST", request.has_body = true, request.headers = {{"x-a", "1"}};
    weir::call call = one.call(request);
    std::thread reads([&] { MUST(call.status() == 200 && !call.headers().empty() && call.read() == "hello" && call.read().empty() && call.trailers().empty()); });
    try {
        call.send("piece");
        call.finish();
    } catch (const weir::error &error) {
        MUST(error.result == WEIR_FINISHED); /* the answer came first */
    }
    reads.join();
    MUST(one.stat("http.in.downstream_rq_total") == 1 && one.stats().find("http.in.downstream_rq_total: 1\n") != std::string::npos);
    MUST(fails([&] { one.stat("nonsense"); }) == WEIR_NO_STAT);
    MUST(fails([&] { one.update("nonsense: 1"); }) == WEIR_CONFIG_REFUSED);
    one.update(config);
    MUST(fails([&] { one.wait(1000); }) == WEIR_TIMED_OUT);

    one = std::move(other); /* the first is stopped, with its log */
    MUST(lines[0] > 0 && other.get() == nullptr);
    one.drain();
    MUST(one.wait() == 0 && lines[1] > 0);
    one.stop();
    MUST(fails([&] { one.call(weir::request()); }) == WEIR_ENDED);
}

static void engines(const std::string &config) {
    weir::engine engine(config);
    weir_address here = {4, 80, {127, 0, 0, 1}}, there = {4, 4000, {127, 0, 0, 1}};
    std::uint64_t conn = engine.accept(engine.listener("main"), here, there, 1);
    std::string_view request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    MUST(engine.recv(conn, request, 2) == request.size() && engine.deadline());
    bool sends = false;
    while (auto action = engine.next_action()) sends |= action->kind == WEIR_ACTION_TRANSMIT && action->conn == conn;
    std::string answer = engine.transmit(conn, 2);
    MUST(sends && answer.compare(answer.size() - 5, 5, "hello") == 0);
    MUST(fails([&] { engine.recv(conn + 1, request, 3); }) == WEIR_UNKNOWN_ID);
    MUST(fails([] { weir::engine("nonsense: 1"); }) == WEIR_CONFIG_REFUSED);
}

int main(int, char **argv) {
    std::ifstream file(argv[1]);
    std::string config((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    proxies(config);
    engines(config);
}
