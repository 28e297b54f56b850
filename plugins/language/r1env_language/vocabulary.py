"""What tells languages of one script apart: their function words, the words people reason with, their letters and endings.

The lists are compiled for this reward: short, closed-class words first, then connectives and the vocabulary of worked solutions,
because that is the text that is judged. Words of one letter are absent: they count as variables (see `words`).
Vietnamese words of plain letters are absent too: they are too short not to be words elsewhere, and few.
A word with an elided article (`l'équation`) is known by its head, so heads are listed with their apostrophe.
"""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": """
            the of and to in is it that this for we be are was were with as on at by from or an not but have has had if then
            than so which what when where who whom whose why how there here they them their he she him her his you your our
            us my me its can could will would should may might must shall do does did done been being into onto over under
            about between because since while until after before again also only just very more most less least much many
            some any each every all both either neither no nor none such same other another one two three four five six
            seven eight nine ten first second third next last let's it's that's don't doesn't didn't isn't aren't can't
            won't we're we've we'll you're there's i'm i'll i've what's wasn't wouldn't he's she's they're let need know see
            say says said get gets got give gives given make makes made take takes find found check think try use used using
            look looks mean means now thus therefore hence however although though still yet maybe wait okay well right
            wrong true false answer question step steps number numbers sum total value equal equals equation solve solution
            result compute calculate evaluate simplify determine prove show problem suppose assume follows follow different
            correct remaining left out off up down these those per without within through during against above below upon
            like want wants start finally twice half times product word words sentence list sort count how's ones something
            anything nothing everything
        """,
        "fr": """
            total solution solutions correct sort le la les un une des du de et est en que qui dans pour pas sur au aux avec
            ce cette ces cet il elle on nous vous ils elles je tu me te se lui leur leurs mon ma mes ton ta tes son sa ses
            notre nos votre vos ne plus moins par mais ou où donc or ni car si comme quand dont même aussi très bien tout
            tous toute toutes sont sommes suis êtes était étaient sera être été avoir ai as ont avons avez avait avaient
            peut peuvent peux pouvons doit doivent devons faut fait faire faisons sans sous entre vers chez alors ensuite
            puis enfin ainsi cela ça ceci voici voilà parce après avant depuis pendant encore toujours jamais rien aucun
            aucune chaque plusieurs quel quelle quels quelles combien pourquoi comment deux trois quatre cinq sept huit neuf
            dix premier première deuxième autre autres réponse étape étapes nombre nombres somme valeur équation résoudre
            calculer calculons trouver trouvons vérifier vérifions obtient obtenons résultat égal égale non oui
            d'abord c'est c' d' j' l' m' n' qu' s' t' jusqu' lorsqu' puisqu' quelqu' soit soient savoir savons
            question problème supposons maintenant attends moitié fois produit mot mots phrase
        """,
        "de": """
            total problem produkt der die das den dem des ein eine einen einem einer eines und ist in im zu zum zur mit von
            vom für auf aus bei nach über unter vor hinter zwischen durch gegen ohne um an am als auch nicht kein keine
            keinen keiner ich du er sie es wir ihr mich dich sich uns euch mir dir ihm ihn ihnen mein dein sein seine seinen
            seiner ihre ihren ihrer unser unsere dass daß ob wenn weil denn aber oder sondern doch nur noch schon sehr so
            wie was wer wo wann warum welche welcher welches welchen sind war waren wird werden wurde wurden würde bin bist
            hat haben hatte hatten habe hätte kann können konnte muss müssen soll sollen will wollen darf dürfen mag dann
            also daher deshalb damit dadurch dabei hier dort da jetzt nun zuerst danach schließlich immer nie mehr weniger
            alle alles jede jeder jedes jeden diese dieser dieses diesen diesem man zwei drei vier fünf sechs sieben acht
            neun zehn erste ersten zweite beide gibt ergibt gilt folgt lösen lösung antwort frage schritt zahl zahlen summe
            wert gleichung ergebnis rechnen berechnen berechne bestimme gleich richtig falsch mal hälfte einfach wort wörter
            satz prüfen überprüfen erhalten bekommen nein ja vielleicht etwas nichts bis ab seit
        """,
        "es": """
            total el la los las un una unos unas de del al en que es son por para con sobre entre hasta desde hacia se
            su sus lo le les nos me te mi mis tu tus no ni si sí como más menos pero sino porque pues cuando donde dónde qué
            quién cuál cuáles cuánto cuántos cuánta cuántas cómo este esta estos estas ese esa esos esas esto eso aquello
            ser está están estar estamos era eran fue fueron hay ha han he hemos había haber tiene tienen tenemos tener
            puede pueden podemos poder debe deben debemos hacer hace hacemos hacen vamos ya también muy mucho muchos poco
            todo todos toda todas cada otro otra otros otras mismo misma así entonces luego después antes ahora primero
            segundo tercero finalmente siempre nunca nada algo aunque dos tres cuatro cinco seis siete ocho nueve diez
            respuesta paso pasos número números suma valor ecuación resolver calcular calculamos encontrar hallar obtenemos
            resultado igual pregunta problema verificar verificamos mitad veces tanto decir sea sean dado bien espera
            producto palabra palabras yo ella ellos ellas nosotros usted ustedes sabemos
        """,
        "pt": """
            total os as um uma uns umas de do da dos das no na nos nas em ao aos às que são por para com sem sobre entre até
            desde se seu sua seus suas lhe me te meu minha teu tua não nem sim como mais menos mas porque pois quando onde
            quem qual quais quanto quantos quantas este esta estes estas esse essa esses essas isto isso aquilo aquele
            aquela ser está estão estar estamos era eram foi foram há tem têm temos ter tinha pode podem podemos poder deve
            devem devemos fazer faz fazemos vamos já também muito muitos pouco tudo todo todos toda todas cada outro outra
            outros outras mesmo mesma assim então depois antes agora primeiro segundo finalmente sempre nunca nada algo
            embora portanto logo dois duas três quatro cinco sete oito nove dez resposta passo passos número números soma
            valor equação resolver calcular calculamos encontrar obtemos resultado igual pergunta problema verificar metade
            vezes pelo pela pelos pelas num numa deste desta disso nisso dele dela eles elas ele ela nós você vocês eu seja
            sejam dado bem espere produto palavra palavras sabemos ainda só
        """,
        "it": """
            il lo la gli le un uno una di del dello della dei degli delle da dal dalla dai in nel nella nei nelle con su sul
            sulla sui per tra fra che chi cui non né se sì ma anche come più meno perché poiché quando dove quale quali
            quanto quanti quanta quante cosa questo questa questi queste quello quella quelli quelle ciò sono sia siano
            essere era erano stato stata ha hanno ho abbiamo avere aveva può possono possiamo potere deve devono dobbiamo
            fare fa facciamo al allo alla ai agli alle si ci vi ne mi ti lui lei loro noi voi io mio mia suo sua suoi sue
            nostro nostra quindi allora poi dopo prima adesso ora infine sempre mai niente nulla tutto tutti tutta tutte
            ogni altro altra altri altre stesso stessa così già ancora molto molti poco due tre quattro cinque sei sette
            otto nove dieci risposta passo passi passaggio numero numeri somma valore equazione risolvere calcolare
            calcoliamo trovare troviamo otteniamo risultato uguale domanda problema verificare verifichiamo metà volte
            prodotto parola parole dell' dall' nell' sull' all' un' l' c' d' quest' quell' com' cos' dov' sappiamo dato bene
            aspetta
        """,
        "nl": """
            totaal product correct de het een en van in is op te dat die dit deze niet met voor aan er om ook als maar bij
            nog naar uit door over tot of dan wat wie waar wanneer waarom hoe welke zijn was waren wordt worden werd werden
            heeft hebben had hadden heb kan kunnen kon moet moeten zal zullen zou zouden wil willen mag mogen ik je jij hij
            zij ze we wij jullie hen hun hem haar mijn jouw ons onze geen geeft geven al alle alles elk elke andere zo dus
            daarom omdat want hier daar nu eerst daarna vervolgens uiteindelijk altijd nooit meer minder veel weinig zonder
            tussen onder tegen tijdens twee drie vier vijf zes zeven acht negen tien antwoord stap getal getallen som waarde
            vergelijking oplossen oplossing berekenen bereken resultaat gelijk vraag probleem controleren helft keer woord
            woorden vinden krijgen laten volgt juist fout misschien iets niets zelf toch
        """,
        "sv": """
            total problem sort och att det som en ett är av för på med den till inte om har de vi jag du han hon man så men
            var kan ska skall vill när från hur vad vem vilken vilket vilka där här eller då nu bara också än mycket många
            mer mindre alla allt varje andra annan samma blir bli blev vara varit hade måste får få ger finns efter innan
            under över mellan utan mot genom eftersom därför alltså sedan först slutligen aldrig alltid någon något inga
            ingen inget sig sitt sina vår vårt våra deras hans hennes denna detta dessa två tre fyra fem sex sju åtta
            nio tio svar svaret steg tal talet summan värde värdet ekvation ekvationen lösa lösning beräkna resultat
            resultatet lika fråga frågan hälften gånger ord hitta vet låt rätt fel kanske oss dem mig dig
        """,
        "pl": """
            problem nie się jest na do to że co jak ale za od po przez przy dla jego jej ich im ten ta te tego tej tym tych
            być był była było były będzie będą są mamy mam masz ma mają może możemy można trzeba musi musimy gdy kiedy gdzie
            dlaczego ponieważ bo więc zatem czyli jeśli jeżeli lub albo oraz także też już jeszcze tylko bardzo więcej mniej
            wszystko wszystkie każdy każda każde inny inne który która które których którego tak teraz potem następnie
            najpierw wreszcie zawsze nigdy nic coś nas nam my wy on ona ono oni mój nasz swój bez pod nad między przed jeden
            dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć odpowiedź krok liczba liczby liczb suma wartość
            równanie równania rozwiązać rozwiązanie obliczyć obliczamy wynik wynosi równa równe pytanie sprawdzić połowa
            razy słowo słowa znaleźć ile czy tutaj
        """,
        "tr": """
            ve bir bu şu ne da de ki için ile çok daha en gibi kadar ama fakat ancak veya ya hem değil var yok olan olarak
            olur oldu olduğu olduğunu olması ise eğer çünkü sonra önce şimdi burada orada nasıl neden niçin nerede hangi kaç
            her hiç bazı tüm bütün kendi ben sen biz siz onlar bana sana ona bize bunu şunu onu bunun onun bizim benim böyle
            öyle yani ayrıca bile sadece yalnızca artık hâlâ mi mı mu mü dır dir edelim ederiz eder ediyoruz bulalım buluruz
            bulmak hesaplayalım hesapla iki üç dört beş altı yedi sekiz dokuz cevap yanıt adım sayı sayısı sayılar toplam
            toplamı değer değeri denklem denklemi çözüm çözelim sonuç eşit eşittir soru sorun doğru yanlış yarısı kez kelime
            göre üzere dolayısıyla olsun elde gerekir ilk ikinci son olacak bulunur
        """,
        "vi": """
            và là của có không được trong với một các những này đó thì mà để từ đến vào lên xuống nếu vì nên bởi cũng đã
            đang sẽ còn rất nhiều ít hơn nhất tất cả mỗi mọi bốn năm sáu bảy tám chín mười chúng tôi bạn chị họ nó người gì
            nào đâu thế như vậy phải cần thể về trên dưới giữa trước đầu tiên cuối cùng tiếp câu trả lời bước số tổng giá
            trị phương trình giải tính kết quả bằng hỏi bài toán tìm kiểm đúng nửa lần hoặc nhưng chỉ lại tại nhiêu
        """,
        "id": """
            total yang dan di ke dari ini itu untuk dengan adalah tidak pada dalam akan juga atau karena oleh ada kita kami
            saya anda dia mereka kamu bisa dapat harus sudah telah belum sedang lebih kurang sangat banyak sedikit semua
            setiap beberapa satu dua tiga empat lima enam tujuh delapan sembilan sepuluh jika maka kalau bila ketika saat
            setelah sebelum sehingga jadi namun tetapi tapi bahwa sebagai seperti antara tanpa tentang hanya masih lagi lalu
            kemudian pertama kedua akhirnya selalu bukan apa siapa mana kapan mengapa bagaimana berapa jawaban jawabannya
            langkah angka bilangan jumlah nilai persamaan menyelesaikan menghitung hitung hasil hasilnya sama pertanyaan
            soal periksa benar salah setengah kali kata cari mencari tahu tersebut nya para
        """,
        "ru": """
            не на что это как по но из за от до для при так же то бы ли ещё еще уже если или чтобы когда где кто чем чего
            тем том этот эта эти этого этой этом тот та те того той он она оно они мы вы ты его её ее их им нам нас вам вас
            мне меня себя свой быть был была было были будет будут есть нет да все всё всех всего каждый каждая каждое
            другой один одна два две три четыре пять шесть семь восемь девять десять можно нужно надо может могут должен
            должны поэтому значит следовательно потому затем потом сначала теперь здесь там только очень больше меньше после
            перед между через без под над об также тогда который которая которое которые сколько почему ответ вопрос шаг
            число числа чисел сумма значение уравнение решить решение решим найти найдём найдем вычислить результат равно
            равна получаем получим проверим проверить задача пусть верно неверно половина раз слово слова итак давайте
            однако хотя даже со во ко
        """,
        "uk": """
            не на що це як по але із за від до для при так же то би чи ще вже якщо або щоб коли де хто чим чого тим тому цей
            ця ці цього цієї той та те того він вона воно вони ми ви ти його її їх їм нам нас вам вас мені мене себе свій
            бути був була було були буде будуть немає ні всі все усі кожен кожна кожне інший один одна два дві три чотири
            п'ять шість сім вісім дев'ять десять можна потрібно треба може можуть повинен повинні отже значить потім
            спочатку тепер тут там тільки лише дуже більше менше після перед між через без під над про також тоді який яка
            яке які скільки чому відповідь питання крок число числа чисел сума значення рівняння розв'язати розв'язок знайти
            знайдемо обчислити результат дорівнює отримуємо перевіримо задача нехай правильно половина раз слово слова однак
            хоча навіть бо зі
        """,
        "bg": """
            не на че това как по но от за до при така то би ли още вече ако или да се са съм си сме сте когато къде кой коя
            кое кои този тази тези той тя те ние вие ти го ги му им нас вас мен себе свой бъде беше бяха ще няма има имаме
            всички всичко всеки всяка всяко друг един една едно две три четири пет шест седем осем девет десет може могат
            трябва защото затова следователно после след първо сега тук там само много повече преди между през без
            под над също тогава който която което които колко защо отговор отговорът въпрос стъпка число числото числа сума
            сумата стойност уравнение уравнението решим решение намерим изчислим резултат равно получаваме проверим задача
            нека вярно половина пъти дума думи обаче макар във със като
        """,
        "ar": """
            في من على إلى عن أن إن هذا هذه ذلك تلك التي الذي الذين ما لا لم لن هو هي هم نحن أنا أنت كان كانت يكون تكون كل
            بعض غير مع بين بعد قبل عند ثم أو أم إذا لأن حيث كما لكن قد لقد حتى منذ فقط أيضا أيضًا جدا نجد لدينا يمكن يجب هنا
            هناك الآن أولا أولاً ثانيا إذن لذلك وهذا وهو وهي فإن بما كيف متى أين لماذا كم أي واحد اثنان اثنين ثلاثة أربعة
            خمسة ستة سبعة ثمانية تسعة عشرة الجواب الإجابة السؤال الخطوة العدد الأعداد عدد مجموع المجموع القيمة قيمة المعادلة
            حل الحل نحسب نتيجة النتيجة يساوي تساوي صحيح نصف
        """,
        "fa": """
            در به از که این آن را با است برای تا بر هم نیز یا اگر چون پس اما ولی هر همه چند چه کدام چرا چگونه کجا ما من تو
            او شما آنها خود یک دو سه چهار پنج شش هفت هشت نه ده بود بودند باشد شد شود میشود می کنیم کنید کند کرد کرده دارد
            داریم دارند باید میتوان توان بنابراین سپس ابتدا اکنون حالا بعد قبل بین بدون روی زیر پاسخ جواب سؤال سوال مرحله
            عدد اعداد جمع مجموع مقدار معادله حل نتیجه برابر درست غلط نصف بار کلمه ای های ها
        """,
        "ur": """
            کے کی کا کو ہے ہیں میں سے اور پر یہ وہ نے کہ جو تو ہم آپ ان اس ایک دو تین چار پانچ چھ سات آٹھ نو دس تھا تھی تھے
            ہو ہوا ہوئے ہوتا ہوتی کر کرنا کرتے کریں گے گا گی نہیں بھی اگر یا لیکن مگر پھر اب پہلے بعد کیا کیوں کیسے کہاں
            کتنے کتنا کون ہر سب کچھ لیے لئے ساتھ بغیر درمیان جواب سوال قدم عدد مجموعہ قدر مساوات حل نتیجہ برابر صحیح غلط
            آدھا چاہیے سکتے سکتا اپنے اسی
        """,
    }.items()
}
"""Lower-case words by language."""

LETTERS: Mapping[str, str] = {
    "fr": "àâæçéèêëîïôœùûüÿ",
    "de": "äöüß",
    "es": "áéíñóúü",
    "pt": "áâãàçéêíóôõú",
    "it": "àèéìíîòóùú",
    "nl": "éëï",
    "sv": "åäöé",
    "pl": "ąćęłńóśźż",
    "tr": "çğıöşüâî",
    "vi": "àáâãèéêìíòóôõùúýăđĩũơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
    "ru": "ёыэ",
    "uk": "ґєії",
    "bg": "ъѝ",
    "fa": "پچژگکی",
    "ur": "ٹڈڑںےہھپچژگکی",
    "ar": "ةىكيأإؤئ",
}
"""Letters by language that not every language of its script has. A letter of one language alone is as good as a word of it."""

PLAIN_LETTERS: Mapping[str, str] = {
    "Latin": "abcdefghijklmnopqrstuvwxyz'",
    "Cyrillic": "абвгдежзийклмнопрстуфхцчшщьюя'",
    "Arabic": "ءآابتثجحخدذرزسشصضطظعغفقلمنهوـًٌٍَُِّْٰٓٔ",
}
"""Letters by script that say nothing; those neither here nor in `LETTERS` are of no known language."""

ENDINGS: Mapping[str, frozenset[str]] = {
    language: frozenset(endings.split())
    for language, endings in {
        "en": "ing ness tion ions ment able ally edly less ful ship ough ight ted ity",
        "fr": "tion ions ment able eur eux euse aire ique elle ette ons ées iez ois ité",
        "de": "ung ngen lich keit heit isch chen tion sche eren tet nden igen",
        "es": "ción dad ente able ando endo amos emos aron ible ador ados idos idad",
        "pt": "ção ções dade ente ando endo indo amos emos ável ível ados idos agem",
        "it": "ione ioni ente ando endo iamo ità ato ata ati ello ezza etto bile",
        "nl": "ing heid lijk tie eren sche aar baar",
        "sv": "ning het ligt lig else arna erna ande",
        "pl": "ość anie enie ania enia owy owa owe ych ego amy emy owej",
        "tr": "lar ler arı eri dan den mak mek yor dır dir ılan ını",
        "id": "kan nya lah",
        "ru": "ость ение ания ения ого ему ться тся ешь аем яем ный ная ное ные ами",
        "uk": "ість ення ання ого ому тися ться ємо имо ний ами",
        "bg": "ост ение ания ата ето ите ият ваме аме ява ният",
    }.items()
}
"""Three or four letters by language that many of its words end with, in others too."""

CHINESE_CHARACTERS = frozenset(
    "们这那么吗呢吧你您她它很没说还给从对让哪怎咱谁啊嘛哦是也为义书习买亏产亲仅仓仪优传伤侧债儿关兴军农冲决况减凤划则刚创"
    "删别剂办务动劳势华协单卖卫厂厅历厉压厌厕县发变叠听启员响团围图圆圣场块坏处备够头夹夺奋妇妈孙宁实审宽寻导层岁岂岛币师帐"
    "带帮应庙庆废开异弃张弹归录彻态总恶惊惯愿战户执扩扫扬抢护报拟拥择换损摆撑无时显晓术杀杂权杨极构标样树桥检欢毁毕气汇汉沟测"
    "济浓涛润涨渐满滤滚灭灵烦烧热爱爷狱猎环现玛疗盖盘监睁矿码确离种积稳穷竞笔笼签简类粮紧纠红约级纪纯纸线练组细终经结绕绘络绝"
    "统继续绩维综缓编缘缩网罗罚职联聪肃肠胜脑脸节荣药获营虑虽补观规视览觉计订认讨议记讲许论设访证评识词译试诗话该详语误请诸读"
    "课调谈谢谱贝负财责败货质购贵费资赛赢赵趋跃车转轮软轻载较辑输边达过运进远违连迟适选递逻遗邮释钟钱铁银销锁错键镇长门闭问间"
    "闻阅队阳阶际陆陈险难顶项顺须顾预领频题额颜风飞饭馆马驱验骑骗鱼鸟齐龙這們會說沒嗎麼妳從對讓與"
)
"""Characters that Chinese uses and Japanese seldom or never: function words first, then simplified forms."""

JAPANESE_CHARACTERS = frozenset("々〆気駅図対応検拡発変売読広価実楽帰円囲団圧塩黒渋渓辺込働峠畑匂枠栃県権駆験顔営択釈単戦戻")
"""Characters that Japanese uses and Chinese does not: forms simplified in Japan, or made there."""
